use s3proxy_protocol::xml::listing::EntryKind;
use time::macros::datetime;

use crate::upload_state::sweep::*;

const NOW: OffsetDateTime = datetime!(2026-07-30 12:00:00 UTC);

fn folder(times: &[Option<&str>]) -> Folder {
    let entries = times.iter().map(|time| ListEntry {
        kind: EntryKind::Version,
        key: ".s3proxy/uploads/i/state".to_owned(),
        etag: None,
        size: None,
        version_id: None,
        last_modified: time.map(str::to_owned),
        is_latest: false,
    });
    Folder {
        id: "i".to_owned(),
        entries: entries.collect(),
    }
}

fn is_due(times: &[Option<&str>], older_than: Duration) -> bool {
    let left = HashMap::from([("i".to_owned(), folder(times))]);
    let due = due(left, NOW, older_than);
    assert_eq!(due.folders.len() + due.young, 1);
    due.folders.len() == 1
}

#[test]
fn left_overs_are_due_when_the_newest_of_them_is_old() {
    let old = Some("2026-07-29T11:59:59.999Z");
    let young = Some("2026-07-29T12:00:01Z");
    assert!(is_due(&[old], DEFAULT_AGE));
    assert!(is_due(&[old, old], DEFAULT_AGE));
    assert!(!is_due(&[young], DEFAULT_AGE));
    assert!(!is_due(&[old, young], DEFAULT_AGE));
    assert!(is_due(&[old, young], Duration::from_hours(1)));
}

#[test]
fn a_key_is_found_however_the_backend_wrote_it() {
    for (written, key) in [
        ("a b+c%", "a b+c%"),
        ("a%20b%2Bc%25", "a b+c%"),
        ("a+b%2Bc%25", "a b+c%"),
        ("a%20b+c", "a b+c"),
    ] {
        assert!(readings(written).any(|reading| reading == key), "{written}");
    }
}

#[test]
fn what_has_no_age_is_never_due() {
    for unknown in [None, Some(""), Some("yesterday")] {
        assert!(!is_due(&[unknown], Duration::ZERO), "{unknown:?}");
        let old = Some("2020-01-01T00:00:00Z");
        assert!(!is_due(&[old, unknown], Duration::ZERO), "{unknown:?}");
    }
}

#[test]
fn with_no_age_asked_for_everything_written_before_now_is_due() {
    assert!(is_due(&[Some("2026-07-30T12:00:00Z")], Duration::ZERO));
    // A clock that is behind the backend's makes leftovers look young, never old.
    assert!(!is_due(&[Some("2026-07-30T12:00:01Z")], Duration::ZERO));
}
