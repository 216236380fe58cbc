//! Browser forms at the gate: a form is admitted exactly if its signer's policy covers it, and no
//! change of a signed form stores anything that the policy does not allow.

#![no_main]

use std::fmt::Write as _;
use std::sync::LazyLock;

use http::request::Parts;
use libfuzzer_sys::fuzz_target;
use s3proxy::fuzzing::{AdmittedForm, Gate};
use s3proxy_fuzz::choices::Choices;
use s3proxy_fuzz::head;
use s3proxy_fuzz::signing::{self, ACCESS_KEY_ID, NOW, SECRET};
use s3proxy_protocol::error::{ErrorCode, S3Error};

static KNOWN: LazyLock<Gate> =
    LazyLock::new(|| Gate::with_client(ACCESS_KEY_ID, SECRET, None, "public"));
static OPEN: LazyLock<Gate> = LazyLock::new(Gate::without_authentication);

/// The fields of a form besides its signature, and the header that each one sets.
const FIELDS: [(&str, Option<&str>); 9] = [
    ("key", None),
    ("acl", Some("x-amz-acl")),
    ("Content-Type", Some("content-type")),
    ("Cache-Control", Some("cache-control")),
    ("X-Amz-Meta-A", Some("x-amz-meta-a")),
    ("x-amz-storage-class", Some("x-amz-storage-class")),
    ("success_action_status", None),
    ("submit", None),
    ("x-ignore-a", None),
];

/// The policy's condition on a field.
#[derive(Clone, PartialEq)]
enum Condition {
    None,
    Equals(String),
    StartsWith(String),
}

impl Condition {
    fn allows(&self, field: &str, value: &str) -> bool {
        match self {
            Self::None => field.starts_with("x-ignore-"),
            Self::Equals(expected) => value == expected,
            Self::StartsWith(prefix) if field == "Content-Type" => {
                // S3 checks each member of a comma-separated Content-Type.
                let mut members = value.split(',');
                members.all(|member| member.trim().starts_with(prefix))
            }
            Self::StartsWith(prefix) => value.starts_with(prefix),
        }
    }

    fn write(&self, field: &str, conditions: &mut Vec<String>) {
        match self {
            Self::None => {}
            Self::Equals(value) => conditions.push(format!("{{{}:{}}}", json(field), json(value))),
            Self::StartsWith(prefix) => {
                let field = json(&format!("${field}"));
                conditions.push(format!("[\"starts-with\",{field},{}]", json(prefix)));
            }
        }
    }
}

/// One field of a form, with the file name filled in.
struct Field {
    name: &'static str,
    header: Option<&'static str>,
    value: String,
    condition: Condition,
}

impl Field {
    fn is_allowed(&self) -> bool {
        self.condition.allows(self.name, &self.value)
    }
}

fn json(text: &str) -> String {
    let mut written = String::from('"');
    for character in text.chars() {
        if matches!(character, '"' | '\\') {
            written.push('\\');
        }
        written.push(character);
    }
    written + "\""
}

fn part(name: &str, value: &str) -> String {
    format!("--edge\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
}

/// A text without control characters, which no field may contain.
fn text(choices: &mut Choices<'_>) -> String {
    let mut text = choices.text();
    text.retain(|character| !character.is_control());
    text
}

/// Adds a field to the body; returns it with the policy's condition on it.
fn field(
    (name, header): (&'static str, Option<&'static str>),
    file_name: &str,
    body: &mut String,
    choices: &mut Choices<'_>,
) -> Field {
    let mut value = text(choices);
    if choices.flag() {
        value.push_str("${filename}");
    }
    body.push_str(&part(name, &value));
    // Browsers may send a path; S3 substitutes only the file name.
    let last = file_name.rsplit('/').next().unwrap_or_default();
    let value = value.replace("${filename}", last);
    let condition = match choices.byte() % 8 {
        0 => Condition::None,
        1 => Condition::Equals(text(choices)),
        2 => Condition::StartsWith(text(choices)),
        3 => Condition::StartsWith(String::new()),
        4 => {
            let length = usize::from(choices.byte());
            Condition::StartsWith(value.chars().take(length).collect())
        }
        _ => Condition::Equals(value.clone()),
    };
    Field {
        name,
        header,
        value,
        condition,
    }
}

/// A signed form.
struct Form {
    body: Vec<u8>,
    fields: Vec<Field>,
    is_in_force: bool,
    names_bucket: bool,
}

fn form(choices: &mut Choices<'_>) -> Form {
    let file_name = choices.pick(&["a.png", "folder/b", ""]);
    let (year, bucket) = (
        choices.pick(&["2014", "2014", "2014", "2012"]),
        choices.pick(&["bucket", "bucket", "bucket", "other"]),
    );
    let mut body = String::new();
    let mut fields = vec![field(FIELDS[0], file_name, &mut body, choices)];
    for known in &FIELDS[1..] {
        if choices.flag() {
            fields.push(field(*known, file_name, &mut body, choices));
        }
    }
    let credential = format!("{ACCESS_KEY_ID}/20130524/us-east-1/s3/aws4_request");
    let signature = [
        ("x-amz-algorithm", "AWS4-HMAC-SHA256"),
        ("x-amz-credential", &credential),
        ("x-amz-date", "20130524T000000Z"),
    ];
    let mut conditions = vec![format!("{{\"bucket\":{}}}", json(bucket))];
    for field in &fields {
        field.condition.write(field.name, &mut conditions);
    }
    for (name, value) in signature {
        body.push_str(&part(name, value));
        Condition::Equals(value.to_owned()).write(name, &mut conditions);
    }
    let conditions = conditions.join(",");
    let policy = signing::base64(
        format!("{{\"expiration\":\"{year}-01-01T00:00:00Z\",\"conditions\":[{conditions}]}}")
            .as_bytes(),
    );
    body.push_str(&part("x-amz-signature", &signing::sign_policy(&policy)));
    body.push_str(&part("policy", &policy));
    let disposition = format!("form-data; name=\"file\"; filename=\"{file_name}\"");
    write!(body, "--edge\r\nContent-Disposition: {disposition}\r\n\r\n").expect("a string");
    body.push_str("content\r\n--edge--\r\n");
    Form {
        body: body.into_bytes(),
        fields,
        is_in_force: year == "2014",
        names_bucket: bucket == "bucket",
    }
}

fn admit(gate: &Gate, body: &[u8]) -> Result<AdmittedForm, S3Error> {
    let length = body.len();
    let head = format!(
        "POST /bucket\nhost:localhost\ncontent-type:multipart/form-data; boundary=edge\n\
         content-length:{length}"
    );
    let parts: Parts = head::parse(head.as_bytes()).expect("a head");
    let form = gate.admit_form(parts, body, NOW)?;
    Ok(form.expect("a POST to a bucket is a form"))
}

/// Whether an error means that signature or policy were refused.
fn is_refusal(error: &S3Error) -> bool {
    matches!(
        error.code,
        ErrorCode::AccessDenied
            | ErrorCode::SignatureDoesNotMatch
            | ErrorCode::InvalidAccessKeyId
            | ErrorCode::InvalidPolicyDocument
    )
}

/// Checks that the policy allows all that would be stored.
fn judge(admitted: &AdmittedForm, fields: &[Field]) {
    assert_eq!(admitted.client, "client");
    let allows = |name: &str, header: Option<&str>, value: &str| {
        let field = fields.iter().find(|field| match header {
            Some(header) => field.header == Some(header),
            None => field.name == name,
        });
        field.is_some_and(|field| field.condition.allows(field.name, value))
    };
    assert!(allows("key", None, &admitted.key), "{}", admitted.key);
    for (name, value) in &admitted.headers {
        let value = std::str::from_utf8(value.as_bytes()).expect("fields are UTF-8");
        assert!(allows("", Some(name.as_str()), value), "{name}: {value}");
    }
}

fuzz_target!(|input: &[u8]| {
    let mut choices = Choices::new(input);
    if choices.byte() % 4 == 0 {
        let body = choices.rest();
        assert!(admit(&KNOWN, body).is_err(), "nobody signed it");
        if let Ok(form) = admit(&OPEN, body) {
            assert!(!form.key.is_empty());
            assert!(!form.headers.contains_key("authorization"));
        }
        return;
    }
    let Form {
        mut body,
        fields,
        is_in_force,
        names_bucket,
    } = form(&mut choices);
    let is_covered = is_in_force && names_bucket && fields.iter().all(Field::is_allowed);
    match admit(&KNOWN, &body) {
        Ok(admitted) => {
            assert!(is_covered, "the policy does not cover it");
            assert_eq!(admitted.key, fields[0].value);
            for field in &fields {
                if let Some(header) = field.header {
                    match admitted.headers.get(header) {
                        Some(value) => assert_eq!(value.as_bytes(), field.value.as_bytes()),
                        // Optional headers that are blank are dropped.
                        None => assert_eq!(field.value.trim_ascii(), ""),
                    }
                }
            }
            judge(&admitted, &fields);
        }
        Err(error) => assert!(!(is_covered && is_refusal(&error)), "{error:?}"),
    }
    // Any changed byte: the signature covers the policy, and the policy the fields.
    if choices.mutate(&mut body)
        && let Ok(admitted) = admit(&KNOWN, &body)
    {
        assert!(is_in_force && names_bucket);
        judge(&admitted, &fields);
    }
});
