//! Browser forms: fields and file do not depend on how a body is cut; and fields, file and
//! delimiters add up to the body, so that no byte of it is read twice or skipped.

#![no_main]

use libfuzzer_sys::fuzz_target;
use s3proxy_fuzz::choices::{Choices, Pieces};
use s3proxy_fuzz::signing::{NOW, base64};
use s3proxy_protocol::post::{
    Boundary, Content, FileBounds, FileDecoder, FormFields, FormHead, FormParser, LengthRange,
    MAX_HEAD_BYTES, Policy, PostError, SuccessAction,
};
use s3proxy_protocol::sigv4::SignedPolicy;

fn boundary(text: &str) -> Result<Boundary, PostError> {
    Boundary::from_content_type(&format!("multipart/form-data; boundary={text}"))
}

/// The fields before the file, and the file.
struct Form {
    head: FormHead,
    file: Vec<u8>,
}

fn read(text: &str, body: &[u8], pieces: &Pieces, range: LengthRange) -> Result<Form, PostError> {
    let edge = boundary(text)?;
    let mut parser = FormParser::new(edge.clone());
    let mut found: Option<FormHead> = None;
    let mut came = 0;
    let mut decoder = FileDecoder::new(&edge, None, range);
    let mut file = Vec::new();
    for piece in pieces.of(body) {
        came += piece.len();
        let mut rest = piece;
        if found.is_none() {
            let Some(head) = parser.push(piece)? else {
                continue;
            };
            assert!(head.length <= MAX_HEAD_BYTES);
            rest = &body[head.length..came];
            found = Some(head);
        }
        while !rest.is_empty() {
            let step = decoder.decode(rest)?;
            match step.content {
                Content::Input(range) => file.extend_from_slice(&rest[range]),
                Content::HeldBack(bytes) => file.extend_from_slice(&bytes),
            }
            rest = &rest[step.consumed..];
        }
    }
    let head = found.ok_or_else(|| parser.end())?;
    decoder.finish()?;
    Ok(Form { head, file })
}

fn text_of(fields: &FormFields) -> Vec<(String, String)> {
    let pairs = fields.iter();
    pairs
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

fn check_whole(text: &str, body: &[u8], form: &Form) {
    let delimiter = format!("\r\n--{text}");
    let closing = format!("{delimiter}--");
    let rest = body[form.head.length..]
        .strip_prefix(&form.file[..])
        .expect("the file as it came");
    assert!(rest.starts_with(delimiter.as_bytes()));
    assert!(holds(rest, closing.as_bytes()), "the form came whole");
    assert!(
        !holds(&form.file, delimiter.as_bytes()),
        "no delimiter is content"
    );
    let rest = (body.len() - form.head.length) as u64;
    let edge = boundary(text).expect("it was read before");
    let bounds = FileBounds::new(&edge, rest).expect("the closing delimiter came");
    let length = form.file.len() as u64;
    assert!(bounds.without_line_break >= length);
}

fn holds(bytes: &[u8], wanted: &[u8]) -> bool {
    bytes.windows(wanted.len()).any(|window| window == wanted)
}

fn judge(mut head: FormHead) {
    let before = text_of(&head.fields);
    for (index, (name, _)) in before.iter().enumerate() {
        assert!(
            !before[..index].iter().any(|(other, _)| other == name),
            "each field once"
        );
    }
    let signed = SignedPolicy::parse(|name| head.fields.get(name));
    if let Ok(Some(signed)) = &signed {
        assert!(!signed.access_key_id().is_empty());
    }
    if head.fields.expand(&head.file_name).is_err() {
        return;
    }
    let all: usize = text_of(&head.fields)
        .iter()
        .map(|(_, value)| value.len())
        .sum();
    assert!(all <= before.len() * MAX_HEAD_BYTES);
    if let SuccessAction::Redirect(target) = SuccessAction::of(&head.fields) {
        let url = target.with_result("bucket", "a key\r\n", "\"etag\"");
        assert!(url.bytes().all(|byte| byte.is_ascii_graphic()), "{url}");
    }
    if let Ok(headers) = head.fields.headers() {
        for name in headers.keys() {
            assert_ne!(name, "authorization");
            assert!(!name.as_str().starts_with("x-amz-copy-source"), "{name}");
        }
    }
    let Some(policy) = head.fields.get("policy").map(Policy::from_base64) else {
        return;
    };
    if let Ok(policy) = policy
        && let Ok(range) = policy.judge("bucket", &head.fields, NOW)
    {
        // A policy without a condition on the key covers no form with a key.
        assert!(range.check(0).is_ok() || range.check_shortest(0).is_err());
    }
}

fn judge_policy(json: &[u8]) {
    let Ok(policy) = Policy::from_base64(&base64(json)) else {
        return;
    };
    let judged = policy.judge("bucket", &FormFields::default(), NOW);
    assert!(judged.is_ok() || judged.is_err());
    let late = time::macros::datetime!(9999-12-31 23:59:59 UTC);
    assert!(
        policy
            .judge("bucket", &FormFields::default(), late)
            .is_err()
    );
}

fuzz_target!(|input: &[u8]| {
    let mut choices = Choices::new(input);
    let pieces = choices.pieces();
    let (text, range) = match choices.byte() % 8 {
        0 => return judge_policy(choices.rest()),
        1 => (choices.text(), LengthRange::ANY),
        2 => ("edge".to_owned(), LengthRange::new(2, 9)),
        _ => ("edge".to_owned(), LengthRange::ANY),
    };
    let body = choices.rest();
    let whole = read(&text, body, &Pieces::whole(), range);
    let cut = read(&text, body, &pieces, range);
    match (whole, cut) {
        (Ok(whole), Ok(cut)) => {
            assert_eq!(text_of(&whole.head.fields), text_of(&cut.head.fields));
            assert_eq!(whole.head.file_name, cut.head.file_name);
            assert_eq!(whole.head.length, cut.head.length);
            assert_eq!(whole.file, cut.file);
            if !text.contains(['"', ';', ' ', '\t']) {
                check_whole(&text, body, &whole);
            }
            judge(whole.head);
        }
        (Err(_), Err(_)) => {}
        (Ok(_), Err(error)) | (Err(error), Ok(_)) => panic!("the cut matters: {error:?}"),
    }
});
