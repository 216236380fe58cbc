//! Response to a form whose object was stored: a redirect or a status.

use http::{StatusCode, Uri};

use super::fields::FormFields;
use crate::percent;

/// Response that the form requests for success.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SuccessAction {
    /// Redirects the browser to this URL, which it requests with GET.
    Redirect(RedirectTarget),
    /// Sends this status: 200 and 204 without a body, 201 with a document.
    Status(StatusCode),
}

/// A redirect target: an absolute `http` or `https` URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RedirectTarget {
    /// URL up to its fragment.
    url: String,
    /// `#…`, or empty.
    fragment: String,
}

impl SuccessAction {
    /// Reads `success_action_redirect` (or `redirect`, its old name) and `success_action_status`.
    /// An unusable redirect is ignored, and the default status is 204, as in S3 (S3 API Reference,
    /// "POST Object").
    #[must_use]
    pub fn of(fields: &FormFields) -> Self {
        let redirect = fields
            .get("success_action_redirect")
            .or_else(|| fields.get("redirect"));
        if let Some(target) = redirect.and_then(RedirectTarget::parse) {
            return Self::Redirect(target);
        }
        Self::Status(match fields.get("success_action_status") {
            Some("200") => StatusCode::OK,
            Some("201") => StatusCode::CREATED,
            Some(_) | None => StatusCode::NO_CONTENT,
        })
    }
}

impl RedirectTarget {
    fn parse(text: &str) -> Option<Self> {
        let (url, fragment) = match text.find('#') {
            Some(at) => text.split_at(at),
            None => (text, ""),
        };
        let parsed: Uri = url.parse().ok()?;
        let absolute = matches!(parsed.scheme_str(), Some("http" | "https"))
            && parsed.host().is_some_and(|host| !host.is_empty());
        // The target becomes the value of `Location`, so it must not contain spaces or controls.
        let graphic = text.bytes().all(|byte| byte.is_ascii_graphic());
        (absolute && graphic).then(|| Self {
            url: url.to_owned(),
            fragment: fragment.to_owned(),
        })
    }

    /// The URL with bucket, key and ETag (including its quotes) appended to the query.
    #[must_use]
    pub fn with_result(&self, bucket: &str, key: &str, etag: &str) -> String {
        let separator = if self.url.contains('?') { '&' } else { '?' };
        format!(
            "{}{separator}bucket={}&key={}&etag={}{}",
            self.url,
            percent::encode_component(bucket),
            percent::encode_component(key),
            percent::encode_component(etag),
            self.fragment
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn action(pairs: &[(&str, &str)]) -> SuccessAction {
        let mut fields = FormFields::default();
        for (name, value) in pairs {
            fields.add(name, (*value).to_owned()).unwrap();
        }
        SuccessAction::of(&fields)
    }

    #[test]
    fn statuses_other_than_s3s_three_are_no_content() {
        for (text, status) in [
            ("200", 200),
            ("201", 201),
            ("204", 204),
            ("302", 204),
            ("", 204),
        ] {
            let expected = SuccessAction::Status(StatusCode::from_u16(status).unwrap());
            assert_eq!(
                action(&[("success_action_status", text)]),
                expected,
                "{text}"
            );
        }
        assert_eq!(action(&[]), SuccessAction::Status(StatusCode::NO_CONTENT));
    }

    #[test]
    fn a_redirect_carries_the_result() {
        for (url, expected) in [
            (
                "https://a.test/done",
                "https://a.test/done?bucket=b&key=k%20%26&etag=%22e%22",
            ),
            (
                "http://a.test:1/?x=1",
                "http://a.test:1/?x=1&bucket=b&key=k%20%26&etag=%22e%22",
            ),
            (
                "http://a.test#top",
                "http://a.test?bucket=b&key=k%20%26&etag=%22e%22#top",
            ),
        ] {
            for field in ["success_action_redirect", "redirect"] {
                let action = action(&[(field, url), ("success_action_status", "200")]);
                let SuccessAction::Redirect(target) = action else {
                    panic!("{url} is a redirect");
                };
                assert_eq!(target.with_result("b", "k &", "\"e\""), expected);
            }
        }
    }

    #[test]
    fn what_is_no_absolute_url_is_no_redirect() {
        for url in [
            "",
            "/done",
            "//a.test/",
            "javascript:alert(1)",
            "ftp://a.test/",
            "http://",
            "http:///x",
            "http://a.test/ b",
            "http://a.test/ü",
        ] {
            let action = action(&[("success_action_redirect", url)]);
            assert_eq!(
                action,
                SuccessAction::Status(StatusCode::NO_CONTENT),
                "{url}"
            );
        }
    }
}
