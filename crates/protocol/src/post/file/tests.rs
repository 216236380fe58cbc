use proptest::prelude::*;

use super::*;

fn boundary() -> Boundary {
    Boundary::from_content_type("multipart/form-data; boundary=edge").unwrap()
}

fn decode(pieces: &[&[u8]], length: Option<u64>, range: LengthRange) -> Result<Vec<u8>, PostError> {
    let mut decoder = FileDecoder::new(&boundary(), length, range);
    let mut content = Vec::new();
    for piece in pieces {
        let mut input = *piece;
        while !input.is_empty() {
            let step = decoder.decode(input)?;
            match step.content {
                Content::Input(range) => content.extend_from_slice(&input[range]),
                Content::HeldBack(bytes) => content.extend_from_slice(&bytes),
            }
            input = &input[step.consumed..];
        }
    }
    decoder.finish().map(|()| content)
}

fn whole(body: &[u8]) -> Result<Vec<u8>, PostError> {
    decode(&[body], None, LengthRange::ANY)
}

#[test]
fn a_file_ends_at_the_closing_delimiter_with_or_without_a_line_break() {
    for (content, end) in [
        ("", "\r\n--edge--"),
        ("content", "\r\n--edge--\r\n"),
        ("\r\n--edg\r\r\n--", "\r\n--edge--\r\n"),
        ("\r\n\r\n", "\r\n--edge--\r\n"),
    ] {
        let body = format!("{content}{end}");
        assert_eq!(whole(body.as_bytes()).as_deref(), Ok(content.as_bytes()));
        let bounds = FileBounds::new(&boundary(), body.len() as u64).unwrap();
        let length = content.len() as u64;
        if end.ends_with('\n') {
            assert_eq!(bounds.with_line_break, Some(length));
        } else {
            assert_eq!(bounds.without_line_break, length);
        }
    }
    assert!(FileBounds::new(&boundary(), 9).is_err());
}

const BUTTON: &str = "\r\n--edge\r\nContent-Disposition: form-data; name=\"submit\"\r\n\r\nGo";

/// Bytes that may follow the file of a small form.
const BEHIND: [&str; 9] = [
    "--",
    "--\r\n\r\n",
    "-- \t",
    "--\n",
    "--\r\nan epilogue\r\n--edge\r\nof any kind",
    "--\r\n--edge--\r\n",
    " \t\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n\r\n--edge--",
    "\r\nContent-Disposition: form-data; name=\"a\"; filename=\"\"\r\n\r\n\r\n--edg\r\n--edge--\r\n",
    "\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\nb\r\n--edge\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n\r\n--edge--\r\n\r\n",
];

#[test]
fn fields_and_an_epilogue_behind_a_small_file_are_ignored() {
    for end in BEHIND {
        let body = format!("content\r\n--edge{end}");
        assert_eq!(whole(body.as_bytes()), Ok(b"content".to_vec()), "{end:?}");
    }
}

#[test]
fn nothing_may_stand_behind_a_file_whose_length_was_announced() {
    for end in [
        "--\r\nx",
        "--\r\n\r\n",
        "--x",
        "-- ",
        "\r\nContent-Disposition: form-data; name=\"submit\"\r\n\r\nb\r\n--edge--\r\n",
        "less\r\n--edge--\r\n",
        "--\r\n--edge--\r\n",
    ] {
        let body = format!("a\r\n--edge{end}");
        let refused = decode(&[body.as_bytes()], Some(1), LengthRange::ANY);
        assert!(
            matches!(refused, Err(PostError::NumberOfFiles(_))),
            "{body:?}"
        );
    }
}

#[test]
fn a_second_file_and_a_malformed_rest_are_refused() {
    let long = format!(
        "\r\nContent-Disposition: form-data; name=\"{}",
        "a".repeat(9000)
    );
    for end in [
        "\r\nContent-Disposition: form-data; name=\"file\"\r\n\r\nb\r\n--edge--\r\n",
        "\r\nContent-Disposition: form-data; name=\"FILE\"\r\n\r\nb\r\n--edge--\r\n",
        "less\r\n--edge--\r\n",
        "--x",
        "-x",
        " --\r\n",
        "\n",
        "\r\n\r\n\r\nno name\r\n--edge--\r\n",
        &long,
    ] {
        let body = format!("a\r\n--edge{end}");
        assert!(whole(body.as_bytes()).is_err(), "{body:?}");
        let bytes: Vec<&[u8]> = body.as_bytes().chunks(1).collect();
        assert!(decode(&bytes, None, LengthRange::ANY).is_err(), "{body:?}");
    }
}

#[test]
fn a_form_cut_short_behind_its_file_is_refused() {
    let body = format!("content{BUTTON}\r\n--edge--");
    for end in 0..body.len() {
        assert!(whole(&body.as_bytes()[..end]).is_err(), "{end}");
    }
    assert_eq!(whole(body.as_bytes()), Ok(b"content".to_vec()));
}

#[test]
fn a_form_cut_short_is_refused() {
    let body = b"content\r\n--edge--\r\n";
    for end in 0..body.len() - 1 {
        let cut = whole(&body[..end]);
        let complete = body[..end]
            .windows(10)
            .any(|bytes| bytes == b"\r\n--edge--");
        assert_eq!(cut.is_ok(), complete, "{end}");
    }
}

#[test]
fn an_announced_length_must_be_the_one_that_comes() {
    let body = b"content\r\n--edge--\r\n";
    assert!(decode(&[body], Some(7), LengthRange::ANY).is_ok());
    for other in [6, 8] {
        assert!(decode(&[body], Some(other), LengthRange::ANY).is_err());
    }
}

#[test]
fn the_length_must_be_inside_the_policys_range() {
    let body = b"content\r\n--edge--\r\n";
    for (minimum, maximum, expected) in [
        (7, 7, Ok(b"content".to_vec())),
        (0, 6, Err(PostError::TooLarge(6))),
        (8, 9, Err(PostError::TooSmall(8))),
    ] {
        let range = LengthRange::new(minimum, maximum);
        assert_eq!(decode(&[body], None, range), expected);
    }
}

proptest! {
    #[test]
    fn any_split_gives_the_same(
        content in "[a\r\n\\-edg]{0,60}",
        behind in prop::sample::select([&BEHIND[..], &["\r\n", ""]].concat()),
        cuts in proptest::collection::vec(0..200_usize, 0..8),
    ) {
        let body = format!("{content}\r\n--edge{behind}").into_bytes();
        let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(body.len())).collect();
        cuts.push(0);
        cuts.push(body.len());
        cuts.sort_unstable();
        let pieces: Vec<&[u8]> = cuts.windows(2).map(|pair| &body[pair[0]..pair[1]]).collect();
        let expected = whole(&body);
        let bytes: Vec<&[u8]> = body.chunks(1).collect();
        prop_assert_eq!(&decode(&pieces, None, LengthRange::ANY), &expected);
        prop_assert_eq!(&decode(&bytes, None, LengthRange::ANY), &expected);
        if !content.contains("\r\n--edge") && BEHIND.contains(&behind) {
            prop_assert_eq!(expected, Ok(content.into_bytes()));
        }
    }
}
