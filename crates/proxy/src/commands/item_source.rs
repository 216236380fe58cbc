//! Listed objects as sources for the engine.

use http::HeaderMap;

use super::listing::{Item, VersionAge};
use crate::failure::Outcome;
use crate::objects::ObjectName;
use crate::objects::read::Source;

impl Item {
    /// Returns the object's name. Refuses names that no backend has.
    pub(crate) fn name(&self) -> Outcome<ObjectName> {
        Ok(ObjectName::parse(&self.bucket, &self.key)?)
    }

    /// Returns the object, which has this name, as a source to read from.
    pub(crate) fn source<'a>(&'a self, name: &'a ObjectName) -> Source<'a> {
        Source {
            object: name.at(self.version.as_deref()),
            headers: HeaderMap::new(),
        }
    }

    /// Returns the object, which has this name, as a source to be changed. A version that was
    /// current when it was listed may not be current any more, so the current one is read.
    pub(crate) fn source_by_now<'a>(&'a self, name: &'a ObjectName) -> Source<'a> {
        let version = match self.age {
            VersionAge::Current => None,
            VersionAge::Old => self.version.as_deref(),
        };
        Source {
            object: name.at(version),
            headers: HeaderMap::new(),
        }
    }
}
