//! Conversion of a setting's text to its value: one implementation per type, for every source.
//!
//! File, environment and flags all give text (or, in the file, a list of texts), and all are
//! converted here, so a value means the same in every source. A refusal gives a short reason; the
//! valid values are in the type's own `expects`, which the reference prints, too. Nothing here
//! knows which setting it reads or where the text came from.

mod choice;
mod key;
mod quantity;
mod telemetry;
mod text;

use s3proxy_protocol::quote::quoted;
use zeroize::Zeroizing;

use super::declare::Sensitivity;

pub(crate) use choice::{AuthenticationMode, LoginMethod, Switch};
pub use key::damage;
pub(crate) use key::{KeyLines, KeyText, passphrase_length};
pub use quantity::period;
pub(crate) use quantity::{ByteCount, Level, Period, Share, Timeout, Whole};
pub(crate) use telemetry::{CollectorAddress, CollectorHeaders, CollectorTimeout, OtlpProtocol};
pub(crate) use text::{
    AccessKeyId, BackendAddress, BucketName, Cidr, Domain, IssuedSecret, KmsAddress, RegionName,
    ServicePath, StatePrefix, SubResourceChange,
};

/// Text of one setting in a source. Wiped on drop: it may be a secret.
pub(crate) enum RawValue {
    Text(Zeroizing<String>),
    List(Vec<Zeroizing<String>>),
}

/// Why a text is invalid, in addition to the expected values; empty if those say it all.
pub(crate) type Reason = String;

/// A type that a setting can have.
pub(crate) trait Value: Sized {
    const SENSITIVITY: Sensitivity = Sensitivity::Plain;

    /// Returns the valid values, with units, as the end of the sentence "expected …".
    fn expects() -> String;

    fn read(given: &RawValue) -> Result<Self, Reason>;
}

/// A value that is one text.
pub(crate) trait Scalar: Sized {
    const SENSITIVITY: Sensitivity = Sensitivity::Plain;

    fn expects() -> String;

    fn parse(text: &str) -> Result<Self, Reason>;
}

impl<T: Scalar> Value for T {
    const SENSITIVITY: Sensitivity = T::SENSITIVITY;

    fn expects() -> String {
        T::expects()
    }

    fn read(given: &RawValue) -> Result<Self, Reason> {
        match given {
            RawValue::Text(text) => T::parse(text),
            RawValue::List(_) => Err("a single value is expected, not a list".to_owned()),
        }
    }
}

/// A list in the file; in a flag or an environment variable, texts separated by commas.
pub(crate) struct List<T>(pub Vec<T>);

impl<T: Scalar> Value for List<T> {
    fn expects() -> String {
        format!("a list of: {}", T::expects())
    }

    fn read(given: &RawValue) -> Result<Self, Reason> {
        let parse = |text: &str| {
            T::parse(text).map_err(|reason| match reason.as_str() {
                "" => format!("{} is not one", quoted(text)),
                reason => format!("{}: {reason}", quoted(text)),
            })
        };
        match given {
            RawValue::Text(text) => text
                .split(',')
                .map(str::trim)
                .filter(|item| !item.is_empty())
                .map(parse)
                .collect::<Result<_, _>>(),
            RawValue::List(items) => items.iter().map(|item| parse(item)).collect(),
        }
        .map(List)
    }
}

/// Implements `Scalar` for types whose `FromStr` does everything.
macro_rules! scalar_from_str {
    ($($type:ty: $expects:literal),+ $(,)?) => {$(
        impl $crate::value::Scalar for $type {
            fn expects() -> String {
                $expects.to_owned()
            }

            fn parse(text: &str) -> Result<Self, $crate::value::Reason> {
                text.parse().map_err(|error| format!("{error}"))
            }
        }
    )+};
}
use scalar_from_str;

#[cfg(test)]
pub(crate) fn given(text: &str) -> RawValue {
    RawValue::Text(Zeroizing::new(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_written_with_commas_or_as_a_list() {
        let List(items) = List::<Whole<1, 9>>::read(&given(" 1, 2,,3 ")).ok().unwrap();
        assert_eq!(
            items.iter().map(|Whole(n)| *n).collect::<Vec<_>>(),
            [1, 2, 3]
        );
        let texts = ["4", "5"].map(|text| Zeroizing::new(text.to_owned()));
        let List(items) = List::<Whole<1, 9>>::read(&RawValue::List(texts.into()))
            .ok()
            .unwrap();
        assert_eq!(items.iter().map(|Whole(n)| *n).collect::<Vec<_>>(), [4, 5]);
    }

    #[test]
    fn a_refused_item_of_a_list_is_named() {
        let reason = List::<Whole<1, 9>>::read(&given("1,10")).err().unwrap();
        assert_eq!(reason, "\"10\" is not one");
    }

    #[test]
    fn a_list_is_refused_where_one_value_is_needed() {
        assert!(Whole::<1, 9>::read(&RawValue::List(Vec::new())).is_err());
    }
}
