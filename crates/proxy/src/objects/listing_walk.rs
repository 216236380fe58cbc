//! Bounds on the walk through the pages of a listing.
//!
//! The backend decides where the next page starts, and could continue forever. A cycle is detected
//! with one remembered marker (Brent's cycle detection), so memory does not grow with the bucket.
//! The number of consecutive empty pages is bounded. A list of bounded length, such as that of an
//! upload's folder, has a bounded number of pages too. An endless list of new entries remains
//! possible; it is no different from a growing bucket, and callers hold no more than a page of it.

use crate::failure::{Failure, Outcome};

/// Most entries of a page. S3 returns no more, regardless of the requested number.
pub(crate) const MOST_ENTRIES: usize = 1000;

/// Longest token or marker, in bytes: a key of 1024 bytes in its longest encoding, with a margin.
const MOST_MARKER_BYTES: usize = 8 * 1024;

/// Most consecutive pages without entries: some servers return them for deleted objects.
const MOST_EMPTY_PAGES: u32 = 1000;

/// Most pages of an upload's folder, which has at most about 20 full ones.
const FOLDER_PAGES: u64 = 100;

/// Start of a page: a token, or markers.
pub(crate) trait Marker: PartialEq + Clone {
    /// Length of the marker in bytes.
    fn bytes(&self) -> usize;
}

impl Marker for String {
    fn bytes(&self) -> usize {
        self.len()
    }
}

impl<M: Marker> Marker for Option<M> {
    fn bytes(&self) -> usize {
        self.as_ref().map_or(0, Marker::bytes)
    }
}

impl<A: Marker, B: Marker> Marker for (A, B) {
    fn bytes(&self) -> usize {
        self.0.bytes() + self.1.bytes()
    }
}

/// Progress of a walk from page to page.
#[derive(Debug)]
pub(crate) struct ListingWalk<M> {
    pages: u64,
    most_pages: u64,
    empty_pages: u32,
    /// Marker of an earlier page. Seeing it again means that the list is a cycle.
    remembered: Option<M>,
}

impl<M: Marker> ListingWalk<M> {
    /// Starts a walk through a list of any length.
    pub(crate) fn new() -> Self {
        Self {
            pages: 0,
            most_pages: u64::MAX,
            empty_pages: 0,
            remembered: None,
        }
    }

    /// Starts a walk through the folder of one upload.
    pub(crate) fn of_folder() -> Self {
        Self {
            most_pages: FOLDER_PAGES,
            ..Self::new()
        }
    }

    /// Returns the start of the next page, after a page with `entries` entries.
    pub(crate) fn go_on(&mut self, entries: usize, next: Option<M>) -> Outcome<M> {
        let next = next.ok_or(Failure::Unusable(
            "a truncated listing without a marker for the next page",
        ))?;
        self.pages += 1;
        self.empty_pages = if entries == 0 {
            self.empty_pages + 1
        } else {
            0
        };
        if next.bytes() > MOST_MARKER_BYTES {
            return Err(Failure::Unusable("a listing with an oversized token"));
        }
        if self.remembered.as_ref() == Some(&next) {
            return Err(Failure::Unusable("a listing that repeats a page"));
        }
        if self.empty_pages > MOST_EMPTY_PAGES || self.pages >= self.most_pages {
            return Err(Failure::Unusable("a listing without an end"));
        }
        // Brent: the marker is replaced at powers of two, so a cycle of any length is found once
        // the distance between replacements exceeds it.
        if self.pages.is_power_of_two() {
            self.remembered = Some(next.clone());
        }
        Ok(next)
    }
}

/// Refuses a page with more entries than S3 returns.
pub(crate) fn check_entries(entries: usize) -> Outcome<()> {
    if entries <= MOST_ENTRIES {
        Ok(())
    } else {
        Err(Failure::Unusable("a page with more entries than requested"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Number of pages that are requested with the given tokens.
    fn pages(mut course: ListingWalk<String>, token: impl Fn(u64) -> Option<String>) -> u64 {
        let mut page = 1;
        while course.go_on(1, token(page)).is_ok() {
            page += 1;
        }
        page
    }

    #[test]
    fn a_list_that_leads_back_ends_soon_whatever_its_way() {
        for (start, length) in [(0, 1), (0, 2), (5, 3), (100, 7), (3, 1000)] {
            let token = |page: u64| {
                let place = if page < start {
                    page
                } else {
                    start + page % length
                };
                Some(place.to_string())
            };
            let asked = pages(ListingWalk::new(), token);
            assert!(
                asked <= 3 * (start + length) + 2,
                "{start} {length}: {asked}"
            );
        }
    }

    #[test]
    fn a_truncated_list_without_a_way_on_is_an_error() {
        assert_eq!(pages(ListingWalk::new(), |_| None), 1);
    }

    #[test]
    fn a_list_of_ever_new_places_goes_on_unless_it_has_a_length() {
        let mut course = ListingWalk::new();
        for page in 0..100_000_u32 {
            course.go_on(1, Some(page.to_string())).unwrap();
        }
        assert_eq!(
            pages(ListingWalk::of_folder(), |page| Some(page.to_string())),
            FOLDER_PAGES
        );
    }

    #[test]
    fn pages_without_entries_are_few_in_a_row() {
        let mut course = ListingWalk::new();
        for page in 0..MOST_EMPTY_PAGES {
            course.go_on(0, Some(page.to_string())).unwrap();
        }
        assert!(course.go_on(0, Some("next".to_owned())).is_err());
    }

    #[test]
    fn a_long_token_is_an_error() {
        for (bytes, is_right) in [(MOST_MARKER_BYTES, true), (MOST_MARKER_BYTES + 1, false)] {
            let token = Some("t".repeat(bytes));
            assert_eq!(ListingWalk::new().go_on(1, token).is_ok(), is_right);
        }
        assert!(check_entries(MOST_ENTRIES).is_ok() && check_entries(MOST_ENTRIES + 1).is_err());
    }
}
