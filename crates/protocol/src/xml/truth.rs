//! Booleans, as lenient as servers of S3 read them.

/// Parses a boolean of XML (`true`, `false`, `1`, `0`) in any case, with white space around it;
/// `None` for anything else.
pub(super) fn truth(text: &str) -> Option<bool> {
    let text = text.trim();
    let is = |word: &str| text.eq_ignore_ascii_case(word);
    match () {
        () if is("true") || is("1") => Some(true),
        () if is("false") || is("0") => Some(false),
        () => None,
    }
}

#[cfg(test)]
mod tests {
    use super::truth;

    #[test]
    fn booleans_are_read_in_any_case_and_with_white_space() {
        for text in ["true", "TRUE", "True", " true\n", "1"] {
            assert_eq!(truth(text), Some(true), "{text:?}");
        }
        for text in ["false", "FALSE", "\tFalse ", "0"] {
            assert_eq!(truth(text), Some(false), "{text:?}");
        }
        for text in ["", "yes", "2", "tru e"] {
            assert_eq!(truth(text), None, "{text:?}");
        }
    }
}
