//! Errors of the HTTP stack as one line of text.

use std::error::Error as StdError;

/// An error with its causes in one line; the outer texts of the HTTP stack say too little.
pub(crate) fn with_causes(error: &(dyn StdError + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = cause(error);
    while let Some(inner) = next {
        let inner_text = inner.to_string();
        // Many layers repeat the text of the error that they wrap.
        if !text.contains(&inner_text) {
            text.push_str(": ");
            text.push_str(&inner_text);
        }
        next = cause(inner);
    }
    text
}

/// `std::io::Error::source` skips the error it wraps.
fn cause<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a (dyn StdError + 'static)> {
    let wrapped = error
        .downcast_ref::<std::io::Error>()
        .and_then(std::io::Error::get_ref)
        .map(|inner| inner as &(dyn StdError + 'static));
    wrapped.or_else(|| error.source())
}
