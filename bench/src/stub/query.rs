//! The query parameters of one request.

use http::Uri;

pub(super) struct Query(Vec<(String, String)>);

impl Query {
    pub(super) fn of(uri: &Uri) -> Self {
        let text = uri.query().unwrap_or_default();
        let parameters = form_urlencoded::parse(text.as_bytes());
        Self(parameters.into_owned().collect())
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.text(name).is_some()
    }

    pub(super) fn text(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }

    pub(super) fn number<N: std::str::FromStr>(&self, name: &str) -> Option<N> {
        self.text(name)?.parse().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_decoded_and_found_with_and_without_values() {
        let uri = Uri::from_static("/b?uploads&prefix=.s3proxy%2Fa%20b+c&max-keys=7");
        let query = Query::of(&uri);
        assert!(query.has("uploads") && !query.has("versions"));
        assert_eq!(query.text("prefix"), Some(".s3proxy/a b c"));
        assert_eq!(query.number("max-keys"), Some(7));
        assert_eq!(query.number::<u16>("prefix"), None);
    }
}
