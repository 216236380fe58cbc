//! Listing pages without the proxy's own keys that still lead a client through the whole list.
//!
//! A page may have fewer entries than requested, but a client must see where the next one starts.
//! Some clients take an empty page for the end, or an empty response to `max-keys=1` for an empty
//! bucket. A page of which nothing is left although the list continues is therefore not shown: the
//! backend is asked again for a page after the hidden keys, which are adjacent. If the page's last
//! entry was hidden, the marker of the next page becomes that of the last entry shown. Continuation
//! tokens are opaque and stay as they are.
//!
//! If the start of a page was moved, the response still names the start that the client requested.

use s3proxy_protocol::xml::listing::{PageEdit, PrefixEdit};

use crate::effective_name::is_state_key;
use crate::s3_request::{PageStart, Paging, Parameters};

/// Most requests past hidden keys for one page. More than one is needed only if there are keys that
/// resolve to the state prefix in another spelling, which have no legitimate use.
pub(crate) const MOVES: usize = 4;

/// Elements of a page that repeat its start: the key, and the detail if the scheme has one.
struct StartElements {
    start: &'static str,
    detail: Option<&'static str>,
}

/// Elements of a page that name the start of the next one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NextMarkerElements {
    pub(crate) key: &'static str,
    pub(crate) detail: Option<&'static str>,
}

/// Last entry of a page that the client sees.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LastShown {
    pub(crate) key: String,
    /// Version id or upload id, if the entry has one.
    pub(crate) detail: Option<String>,
}

impl Paging {
    fn start_elements(self) -> StartElements {
        let (start, detail) = match self {
            Self::Marker => ("Marker", None),
            Self::Token => ("StartAfter", Some("ContinuationToken")),
            Self::Versions => ("KeyMarker", Some("VersionIdMarker")),
            Self::Uploads => ("KeyMarker", Some("UploadIdMarker")),
        };
        StartElements { start, detail }
    }

    /// Elements that name the next page's start; `None` if it is an opaque token.
    pub(crate) fn next(self) -> Option<NextMarkerElements> {
        match self {
            Self::Marker => Some(NextMarkerElements {
                key: "NextMarker",
                detail: None,
            }),
            Self::Token => None,
            Self::Versions => Some(NextMarkerElements {
                key: "NextKeyMarker",
                detail: Some("NextVersionIdMarker"),
            }),
            Self::Uploads => Some(NextMarkerElements {
                key: "NextKeyMarker",
                detail: Some("NextUploadIdMarker"),
            }),
        }
    }

    /// The query for a page that starts after `key`.
    pub(crate) fn behind(self, mut query: Parameters, key: &str) -> Parameters {
        let (start, detail) = self.start_parameters();
        query.retain(|(name, _)| name != start && detail.is_none_or(|detail| name != detail));
        query.push((start.to_owned(), Some(key.to_owned())));
        query
    }

    /// Edits that restore the client's own start in a page that was moved.
    pub(crate) fn asked(self, start: &PageStart) -> Vec<(&'static str, PageEdit<'_>)> {
        let elements = self.start_elements();
        let key = match (start.key.as_deref(), self) {
            (Some(key), _) => PageEdit::Key(key),
            (None, Self::Token) => PageEdit::Remove,
            // Other listings always have the element, if empty.
            (None, Self::Marker | Self::Versions | Self::Uploads) => PageEdit::Key(""),
        };
        let detail = elements.detail.zip(start.detail.as_deref());
        let detail = detail.map(|(element, detail)| (element, PageEdit::Text(detail)));
        [(elements.start, key)].into_iter().chain(detail).collect()
    }
}

/// A key after the hidden ones at the end of a page, and before any key that a client may see.
pub(crate) fn behind_hidden(last: &str, state_prefix: &str) -> String {
    // Keys that the proxy writes under the prefix consist of ASCII characters below `~`.
    let behind = format!("{state_prefix}~");
    // Only forward: a start before the page's last entry would repeat the page forever.
    if last.starts_with(state_prefix) && *last < *behind {
        behind
    } else {
        last.to_owned()
    }
}

/// Edits that replace the next page's marker if it names a hidden key.
pub(crate) fn next_edits<'l>(
    paging: Paging,
    next_key: Option<&str>,
    last: Option<&'l LastShown>,
    state_prefix: &str,
) -> Vec<(&'static str, PageEdit<'l>)> {
    let hidden = next_key.is_some_and(|key| is_state_key(key, state_prefix));
    let (Some(next), Some(last), true) = (paging.next(), last, hidden) else {
        return Vec::new();
    };
    let detail = next.detail.map(|element| match &last.detail {
        Some(detail) => (element, PageEdit::Text(detail)),
        None => (element, PageEdit::Remove),
    });
    [(next.key, PageEdit::Key(&last.key))]
        .into_iter()
        .chain(detail)
        .collect()
}

/// A parsed page of a listing.
pub(crate) trait ListedPage {
    fn is_truncated(&self) -> bool;

    /// Keys in the page's order, each with its version id or upload id.
    fn keys(&self) -> impl DoubleEndedIterator<Item = (&str, Option<&str>)>;

    fn common_prefixes(&self) -> &[String];
}

/// Last entry or common prefix of a page that a client sees.
pub(crate) fn last_shown(page: &impl ListedPage, state_prefix: &str) -> Option<LastShown> {
    let is_shown = |key: &str| !is_state_key(key, state_prefix);
    let mut keys = page.keys().rev();
    let entry = keys.find(|(key, _)| is_shown(key));
    let entry = entry.map(|(key, detail)| LastShown {
        key: key.to_owned(),
        detail: detail.map(str::to_owned),
    });
    let mut prefixes = page.common_prefixes().iter().rev();
    let prefix = prefixes.find(|prefix| is_shown(prefix));
    later(entry, prefix.map(String::as_str))
}

/// Last hidden key of a page that shows nothing although the list continues.
pub(crate) fn last_of_nothing_shown(page: &impl ListedPage, state_prefix: &str) -> Option<String> {
    if !page.is_truncated() || last_shown(page, state_prefix).is_some() {
        return None;
    }
    let keys = page.keys().map(|(key, _)| key);
    let prefixes = page.common_prefixes().iter().map(String::as_str);
    // Keys and prefixes are listed separately; the later of the two is where the page ends.
    keys.chain(prefixes).max().map(str::to_owned)
}

/// Edit of a common prefix: those of the proxy's own keys are hidden.
pub(crate) fn prefix_edit(prefix: &str, state_prefix: &str) -> PrefixEdit {
    if is_state_key(prefix, state_prefix) {
        PrefixEdit::Hide
    } else {
        PrefixEdit::Keep
    }
}

/// The later one of the last entry and the last common prefix.
fn later(entry: Option<LastShown>, prefix: Option<&str>) -> Option<LastShown> {
    let prefix = prefix.map(|prefix| LastShown {
        key: prefix.to_owned(),
        detail: None,
    });
    match (entry, prefix) {
        // S3 sorts keys and prefixes together, by their UTF-8 bytes, as `str` compares.
        (Some(entry), Some(prefix)) if prefix.key > entry.key => Some(prefix),
        (Some(entry), _) => Some(entry),
        (None, prefix) => prefix,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PREFIX: &str = ".s3proxy/";

    fn parameters(pairs: &[(&str, &str)]) -> Parameters {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), Some((*value).to_owned()));
        pairs.iter().map(owned).collect()
    }

    fn shown(key: &str, detail: Option<&str>) -> LastShown {
        LastShown {
            key: key.to_owned(),
            detail: detail.map(str::to_owned),
        }
    }

    #[test]
    fn a_moved_page_starts_behind_every_key_of_the_proxy_and_before_all_others() {
        let behind = behind_hidden(".s3proxy/uploads/a/part-1", PREFIX);
        assert!(*behind > *".s3proxy/uploads/zzz/state");
        assert!(*behind < *".s3proxy0");
        assert_eq!(behind_hidden(".s3proxy/", PREFIX), behind);
    }

    #[test]
    fn a_move_never_goes_back() {
        for last in ["//.s3proxy/x", ".s3proxy/~~", "x/../.s3proxy/y"] {
            assert_eq!(behind_hidden(last, PREFIX), last);
        }
    }

    #[test]
    fn the_new_start_replaces_what_said_where_the_page_starts() {
        let query = [
            ("prefix", "p"),
            ("start-after", "a"),
            ("continuation-token", "t"),
        ];
        let moved = Paging::Token.behind(parameters(&query), "k");
        assert_eq!(moved, parameters(&[("prefix", "p"), ("start-after", "k")]));
        let query = [("marker", "a"), ("max-keys", "1")];
        let moved = Paging::Marker.behind(parameters(&query), "k");
        assert_eq!(moved, parameters(&[("max-keys", "1"), ("marker", "k")]));
        let query = [("key-marker", "a"), ("version-id-marker", "v")];
        let moved = Paging::Versions.behind(parameters(&query), "k");
        assert_eq!(moved, parameters(&[("key-marker", "k")]));
    }

    #[test]
    fn a_moved_page_names_the_start_that_was_asked_for() {
        let start = PageStart {
            key: None,
            detail: Some("t".to_owned()),
        };
        let expected = [
            ("StartAfter", PageEdit::Remove),
            ("ContinuationToken", PageEdit::Text("t")),
        ];
        assert_eq!(Paging::Token.asked(&start), expected);
        let none = PageStart::default();
        assert_eq!(Paging::Marker.asked(&none), [("Marker", PageEdit::Key(""))]);
    }

    #[test]
    fn only_markers_that_name_hidden_keys_are_exchanged() {
        let last = shown("a", Some("v"));
        let hidden = Some(".s3proxy/uploads/x/state");
        let edits = next_edits(Paging::Versions, hidden, Some(&last), PREFIX);
        let expected = [
            ("NextKeyMarker", PageEdit::Key("a")),
            ("NextVersionIdMarker", PageEdit::Text("v")),
        ];
        assert_eq!(edits, expected);
        let prefix = shown("-/", None);
        let edits = next_edits(Paging::Uploads, hidden, Some(&prefix), PREFIX);
        assert_eq!(edits[1], ("NextUploadIdMarker", PageEdit::Remove));
        for (paging, next) in [
            (Paging::Versions, Some("b")),
            (Paging::Marker, None),
            (Paging::Token, hidden),
        ] {
            assert!(next_edits(paging, next, Some(&last), PREFIX).is_empty());
        }
    }

    #[test]
    fn the_last_of_a_page_is_a_key_or_a_prefix() {
        let key = || Some(shown("b", None));
        assert_eq!(later(key(), Some("a/")), key());
        assert_eq!(later(key(), Some("c/")), Some(shown("c/", None)));
        assert_eq!(later(None, Some("c/")), Some(shown("c/", None)));
        assert_eq!(later(None, None), None);
    }
}
