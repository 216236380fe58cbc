use crate::operations::list_parts::*;

const EARLY: &str = "2026-07-30T12:00:00.100Z";
const LATE: &str = "2026-07-30T12:00:00.900Z";

fn listed(number: u16, etag: &str, last_modified: &str) -> ListedPart {
    ListedPart {
        number,
        etag: ETag::parse(etag),
        size: 6_000_000,
        last_modified: last_modified.to_owned(),
    }
}

fn staged(number: u16, etag: &str, last_modified: &str) -> StagedPart {
    StagedPart {
        number: PartNumber::new(number).unwrap(),
        etag: ETag::parse(etag),
        size: 100,
        last_modified: last_modified.to_owned(),
    }
}

fn requested(after: u32, max_parts: u32) -> RequestedPage {
    RequestedPage { after, max_parts }
}

fn merge(
    requested: RequestedPage,
    listed: &[ListedPart],
    truncated: bool,
    staged: Vec<StagedPart>,
) -> ShownParts {
    super::merge(requested, listed, truncated, staged, |_| false)
}

fn etags(shown: &ShownParts) -> Vec<(u16, &str)> {
    let parts = shown.parts.iter();
    parts
        .map(|part| (part.number, part.etag.as_str()))
        .collect()
}

#[test]
fn staged_parts_stand_among_the_others_by_number() {
    let shown = merge(
        requested(0, 1000),
        &[listed(1, "a", EARLY), listed(4, "d", EARLY)],
        false,
        vec![staged(2, "b", EARLY), staged(10_000, "z", EARLY)],
    );
    let expected = [(1, "a"), (2, "b"), (4, "d"), (10_000, "z")];
    assert_eq!(etags(&shown), expected);
    assert!(!shown.has_more);
    assert_eq!(shown.next_marker(requested(0, 1000)), None);
}

#[test]
fn of_one_number_the_newer_is_shown_and_the_staged_one_on_a_tie() {
    let seconds = "2026-07-30T12:00:00.000Z";
    let next_second = "2026-07-30T12:00:01Z";
    for (long, short, expected) in [
        (EARLY, LATE, "short"),
        (LATE, EARLY, "long"),
        (EARLY, EARLY, "short"),
        // Whole seconds do not tell which of two times within one second is earlier.
        (LATE, seconds, "short"),
        (seconds, EARLY, "short"),
        (next_second, LATE, "long"),
        (LATE, next_second, "short"),
    ] {
        let parts = [listed(3, "long", long)];
        let shown = merge(
            requested(0, 9),
            &parts,
            false,
            vec![staged(3, "short", short)],
        );
        assert_eq!(etags(&shown), [(3, expected)], "{long} {short}");
    }
}

#[test]
fn of_a_part_that_the_backend_lists_twice_the_newest_is_shown() {
    for parts in [
        [listed(2, "new", LATE), listed(2, "old", EARLY)],
        [listed(2, "old", EARLY), listed(2, "new", LATE)],
    ] {
        let shown = merge(requested(0, 9), &parts, false, Vec::new());
        assert_eq!(etags(&shown), [(2, "new")]);
    }
}

#[test]
fn of_two_attempts_within_one_second_the_one_that_was_stored_last_here_is_shown() {
    let second = "2026-07-30T12:00:00.000Z";
    for (first, other) in [("last", "other"), ("other", "last")] {
        let parts = [listed(2, first, second), listed(2, other, second)];
        let is_last = |part: &Part| part.etag.as_str() == "last";
        let shown = super::merge(requested(0, 9), &parts, false, Vec::new(), is_last);
        assert_eq!(etags(&shown), [(2, "last")]);
        // Another replica stored one in a later second.
        let parts = [
            listed(2, first, second),
            listed(2, other, "2026-07-30T12:00:01.000Z"),
        ];
        let shown = super::merge(requested(0, 9), &parts, false, Vec::new(), is_last);
        assert_eq!(etags(&shown), [(2, other)]);
    }
}

#[test]
fn the_tail_is_no_part_but_a_staged_part_under_its_number_is() {
    let tail = [listed(10_000, "tail", LATE)];
    assert!(
        merge(requested(0, 9), &tail, false, Vec::new())
            .parts
            .is_empty()
    );
    let shown = merge(
        requested(0, 9),
        &tail,
        false,
        vec![staged(10_000, "part", EARLY)],
    );
    assert_eq!(etags(&shown), [(10_000, "part")]);
}

#[test]
fn nothing_beyond_the_backends_page_is_shown_before_its_time() {
    let parts = [
        listed(1, "a", EARLY),
        listed(5, "e", EARLY),
        listed(7, "g", EARLY),
    ];
    let beyond = vec![
        staged(3, "c", EARLY),
        staged(6, "f", EARLY),
        staged(9, "i", EARLY),
    ];
    let shown = merge(requested(0, 1000), &parts, true, beyond);
    assert_eq!(etags(&shown), [(1, "a"), (3, "c"), (5, "e")]);
    assert_eq!(shown.next_marker(requested(0, 1000)), Some(5));
}

#[test]
fn a_truncated_page_of_one_number_still_comes_forward() {
    let shown = merge(
        requested(6, 1000),
        &[listed(7, "g", EARLY)],
        true,
        Vec::new(),
    );
    assert_eq!(shown.next_marker(requested(6, 1000)), Some(7));
}

#[test]
fn pages_of_every_length_show_every_part_once() {
    let all = [1, 2, 3, 5, 8, 13, 21, 9_999].map(|number| listed(number, "long", EARLY));
    let short = [2, 4, 21, 10_000].map(|number| staged(number, "short", LATE));
    for length in 1..=12 {
        let (mut behind, mut seen) = (0, Vec::new());
        loop {
            let page = all.iter().filter(|part| u32::from(part.number) > behind);
            let page: Vec<_> = page.cloned().collect();
            let now = requested(behind, length);
            let shown = merge(now, &page, false, short.to_vec());
            assert!(shown.parts.len() <= length as usize);
            seen.extend(shown.parts.iter().map(|part| part.number));
            match shown.next_marker(now) {
                Some(next) => behind = u32::from(next),
                None => break,
            }
        }
        assert_eq!(seen, [1, 2, 3, 4, 5, 8, 13, 21, 9_999, 10_000], "{length}");
    }
}

#[test]
fn a_client_that_wants_no_parts_is_told_that_there_are_some() {
    let shown = merge(requested(1, 0), &[listed(2, "b", EARLY)], false, Vec::new());
    assert!(shown.parts.is_empty() && shown.has_more);
    assert_eq!(shown.next_marker(requested(1, 0)), Some(1));
}
