//! The form of a setting's declaration: once, with everything about it.
//!
//! The declarations in `settings` define the file's known fields, the environment variables, the
//! flags with their help, the defaults, the checks, the error messages and the reference in
//! `docs/configuration.md`. A declaration carries its type, so that reading it returns that type
//! and no other can be requested.
//!
//! Paths are those of the file, such as `backend.region`; `[]` stands for "each of the list", as in
//! `clients.known[].name`. Every setting outside of lists has the environment variable that its path
//! makes, such as `S3PROXY_BACKEND_REGION`; a declaration names further ones after `|`.

use std::marker::PhantomData;

use super::value::Value;

/// Beginning of the names of all environment variables of this program.
pub(crate) const PREFIX: &str = "S3PROXY_";

/// Everything about a setting but its Rust type.
pub(crate) struct Declaration {
    pub path: &'static str,
    /// Environment variables besides the one that follows from the path: those of the older
    /// proxies, and those of other programs, which only give a default.
    pub aliases: &'static [&'static str],
    pub flag: Flag,
    /// Valid values, with units, as the end of the sentence "expected …".
    pub expects: fn() -> String,
    pub default: Default,
    /// Full sentences; the first one is used alone in short help.
    pub documentation: &'static str,
    pub sensitivity: Sensitivity,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flag {
    None,
    Value {
        name: &'static str,
        placeholder: &'static str,
    },
    /// A flag without a value: it sets the text `yes`, or `no` with `=false`.
    Switch {
        name: &'static str,
        yes: &'static str,
        no: &'static str,
        help: &'static str,
    },
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Default {
    /// Text that is used if nothing else is given.
    Text(&'static str),
    /// Absent unless given; the words describe what that means.
    Absent(&'static str),
    /// The setting must be given.
    Required,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sensitivity {
    Plain,
    /// A refused value is not shown, since it may be a secret in the wrong place.
    Masked,
    /// Never shown, and without a flag. May also be given as the name of a file: `…_file`,
    /// `…_FILE`.
    Secret,
}

/// A setting that always has a value: its default if nothing else.
pub(crate) struct Setting<T> {
    pub declaration: Declaration,
    kind: PhantomData<fn() -> T>,
}

/// A setting that may be absent.
pub(crate) struct Optional<T> {
    pub declaration: Declaration,
    kind: PhantomData<fn() -> T>,
}

/// A setting that must be given.
pub(crate) struct Required<T> {
    pub declaration: Declaration,
    kind: PhantomData<fn() -> T>,
}

/// Parts of a declaration that do not follow from its type.
pub(crate) struct Names {
    pub path: &'static str,
    pub aliases: &'static [&'static str],
    pub flag: Flag,
    pub documentation: &'static str,
}

impl Names {
    const fn declare<T: Value>(self, default: Default) -> Declaration {
        Declaration {
            path: self.path,
            aliases: self.aliases,
            flag: self.flag,
            expects: T::expects,
            default,
            documentation: self.documentation,
            sensitivity: T::SENSITIVITY,
        }
    }
}

impl<T: Value> Setting<T> {
    pub(crate) const fn new(names: Names, default: &'static str) -> Self {
        Self {
            declaration: names.declare::<T>(Default::Text(default)),
            kind: PhantomData,
        }
    }
}

impl<T: Value> Optional<T> {
    pub(crate) const fn new(names: Names, meaning: &'static str) -> Self {
        Self {
            declaration: names.declare::<T>(Default::Absent(meaning)),
            kind: PhantomData,
        }
    }
}

impl<T: Value> Required<T> {
    pub(crate) const fn new(names: Names) -> Self {
        Self {
            declaration: names.declare::<T>(Default::Required),
            kind: PhantomData,
        }
    }
}

impl Declaration {
    /// Returns the section of the file: the path up to its first dot.
    pub(crate) fn section(&self) -> &'static str {
        let section = self.path.split('.').next().unwrap_or(self.path);
        section.strip_suffix("[]").unwrap_or(section)
    }

    /// Environment variables that give the setting, in the order in which they are looked at: names
    /// of the older proxies, `S3PROXY_` and the path in upper case, and names of other programs.
    /// Settings inside lists have none.
    pub(crate) fn variables(&self) -> impl Iterator<Item = String> {
        let is_inside_list = self.path.contains("[]");
        let own = (!is_inside_list).then(|| self.path.to_ascii_uppercase().replace('.', "_"));
        let own = own.map(|path| format!("{PREFIX}{path}"));
        let (older, others): (Vec<&str>, Vec<&str>) = self
            .aliases
            .iter()
            .partition(|alias| alias.starts_with(PREFIX));
        let older = older.into_iter().map(str::to_owned);
        older
            .chain(own)
            .chain(others.into_iter().map(str::to_owned))
    }

    /// Returns the places where the setting can be set, for the message that it is missing.
    pub(crate) fn places(&self) -> String {
        let mut places: Vec<String> = Vec::new();
        if let Flag::Value { name, placeholder } = self.flag {
            places.push(format!("--{name} {placeholder}"));
        }
        let field = self.path.rsplit('.').next().unwrap_or(self.path);
        // One name is enough; the others mean the same.
        if let Some(variable) = self.variables().next() {
            places.push(variable.clone());
            if self.sensitivity == Sensitivity::Secret {
                places.push(format!("{variable}_FILE"));
            }
        }
        match self.sensitivity {
            Sensitivity::Plain | Sensitivity::Masked => {
                places.push(format!("{field} in the configuration file"));
            }
            Sensitivity::Secret => {
                places.push(format!("{field} or {field}_file in the configuration file"));
            }
        }
        places.join(", ")
    }
}

/// Declares settings as constants and collects them, so that none can be missing from the list.
macro_rules! settings {
    ($(#[$attribute:meta])* $list:ident: $(
        $(#[doc = $documentation:literal])+
        $name:ident: $form:ident<$type:ty> = $path:literal $(| $alias:literal)*, $flag:expr $(, $default:literal)?;
    )+) => {
        $(
            $(#[doc = $documentation])+
            pub(crate) const $name: &$form<$type> = &$form::new(
                Names {
                    path: $path,
                    aliases: &[$($alias),*],
                    flag: $flag,
                    documentation: concat!($($documentation),+),
                },
                $($default)?
            );
        )+
        $(#[$attribute])*
        pub(crate) const $list: &[&Declaration] = &[$(&$name.declaration),+];
    };
}
pub(crate) use settings;
