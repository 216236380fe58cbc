//! The little XML that generator and stub need: the texts of named elements.
//!
//! They read each other's documents and those of the proxy, whose forms are known; this is not an
//! XML parser. These documents have no comments, CDATA or attributes, and in the texts that are
//! read, no entities but that of the quote.

/// The contents of all elements with this name, in order; nested markup stays unchanged.
pub(crate) fn contents<'a>(document: &'a str, name: &str) -> impl Iterator<Item = &'a str> {
    let (open, close) = (format!("<{name}>"), format!("</{name}>"));
    let mut rest = document;
    std::iter::from_fn(move || {
        let (_, after) = rest.split_once(&open)?;
        let (content, next) = after.split_once(&close)?;
        rest = next;
        Some(content)
    })
}

/// The content of the first element of this name.
pub(crate) fn content<'a>(document: &'a str, name: &str) -> Option<&'a str> {
    contents(document, name).next()
}

/// An entity tag without its quotes, written in any form.
pub(crate) fn unquoted(etag: &str) -> &str {
    let etag = etag.trim();
    let quotes = ["\"", "&quot;", "&#34;"];
    quotes
        .into_iter()
        .find_map(|quote| etag.strip_prefix(quote)?.strip_suffix(quote))
        .unwrap_or(etag)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_are_found_in_order_and_apart_from_those_of_longer_names() {
        let document =
            "<Parts><Part><N>1</N></Part><Partial>x</Partial><Part><N>2</N></Part></Parts>";
        let parts: Vec<&str> = contents(document, "Part").collect();
        assert_eq!(parts, ["<N>1</N>", "<N>2</N>"]);
        assert_eq!(content(document, "N"), Some("1"));
        assert_eq!(content(document, "M"), None);
    }

    #[test]
    fn quotes_around_an_entity_tag_are_taken_off_in_every_form() {
        for etag in ["\"ab-1\"", "&quot;ab-1&quot;", "&#34;ab-1&#34;", " ab-1 "] {
            assert_eq!(unquoted(etag), "ab-1");
        }
    }
}
