//! The text about a missing credential: the settings that give one, and the sources that were
//! tried.

/// Sources of AWS's default chain, in its order, according to the environment.
pub(super) struct CredentialSources<'a> {
    variable: &'a dyn Fn(&str) -> Option<String>,
}

impl<'a> CredentialSources<'a> {
    /// Builds the sources; `variable` returns the value of an environment variable.
    pub(super) fn new(variable: &'a dyn Fn(&str) -> Option<String>) -> Self {
        Self { variable }
    }

    /// Returns the remedy, and the sources that were tried. `cause` is the chain's error.
    pub(super) fn explain(&self, cause: &str) -> String {
        let mut tried = vec![self.environment(), self.profile()];
        tried.extend(self.remote());
        let cause = if self.asks_remotely() {
            format!(". The last cause: {cause}")
        } else {
            String::new()
        };
        format!(
            "set backend.access_key_id and backend.secret_access_key (S3PROXY_BACKEND_ACCESS_KEY_ID, \
             S3PROXY_BACKEND_SECRET_ACCESS_KEY), or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY; \
             tried {}{cause}",
            tried.join(", ")
        )
    }

    fn is_set(&self, name: &str) -> bool {
        (self.variable)(name).is_some_and(|text| !text.is_empty())
    }

    fn environment(&self) -> String {
        let (id, secret) = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY");
        let text = match (self.is_set(id), self.is_set(secret)) {
            (true, false) => format!("{secret} is missing, while {id} is set"),
            (false, true) => format!("{id} is missing, while {secret} is set"),
            (true, true) => format!("{id} and {secret} cannot be used"),
            (false, false) => "nothing set".to_owned(),
        };
        format!("the environment ({text})")
    }

    fn profile(&self) -> String {
        match (self.variable)("AWS_PROFILE").filter(|name| !name.is_empty()) {
            Some(name) => format!(
                "the profile {name:?} of AWS_PROFILE (it is in none of AWS's files, or gives no \
                 credential)"
            ),
            None => "the default profile (none)".to_owned(),
        }
    }

    fn remote(&self) -> Vec<String> {
        let mut tried = Vec::new();
        if self.is_set("AWS_WEB_IDENTITY_TOKEN_FILE") {
            tried.push("web identity (no login)".to_owned());
        }
        if self.is_container() {
            tried.push("the container's role (no answer)".to_owned());
        }
        let metadata = (self.variable)("AWS_EC2_METADATA_DISABLED");
        if !metadata.is_some_and(|text| text.eq_ignore_ascii_case("true")) {
            tried.push("the instance's role (no answer)".to_owned());
        }
        tried
    }

    fn is_container(&self) -> bool {
        self.is_set("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI")
            || self.is_set("AWS_CONTAINER_CREDENTIALS_FULL_URI")
    }

    /// Returns whether a credential comes from a service that has to be called for it.
    pub(super) fn asks_remotely(&self) -> bool {
        self.is_container() || self.is_set("AWS_WEB_IDENTITY_TOKEN_FILE")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn explained(variables: &[(&str, &str)]) -> String {
        let variable = |name: &str| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, text)| (*text).to_owned())
        };
        CredentialSources::new(&variable).explain("the cause")
    }

    #[test]
    fn the_missing_half_is_named_and_the_value_of_the_other_is_not() {
        let told = explained(&[("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE")]);
        let expected = "AWS_SECRET_ACCESS_KEY is missing, while AWS_ACCESS_KEY_ID is set";
        assert!(told.contains(expected), "{told}");
        assert!(!told.contains("AKIAEXAMPLE"), "{told}");
        let told = explained(&[("AWS_SECRET_ACCESS_KEY", "x"), ("AWS_ACCESS_KEY_ID", "")]);
        assert!(told.contains("AWS_ACCESS_KEY_ID is missing"), "{told}");
    }

    #[test]
    fn settings_and_tried_sources_are_named() {
        let told = explained(&[
            ("AWS_PROFILE", "nope"),
            ("AWS_EC2_METADATA_DISABLED", "true"),
        ]);
        for part in ["backend.access_key_id", "AWS_SECRET_ACCESS_KEY", "\"nope\""] {
            assert!(told.contains(part), "{told}");
        }
        assert!(!told.contains("the cause"), "{told}");
        assert!(!told.contains("instance"), "{told}");
        assert!(explained(&[]).contains("the instance's role"));
        let told = explained(&[("AWS_WEB_IDENTITY_TOKEN_FILE", "/token")]);
        assert!(told.ends_with("web identity (no login), the instance's role (no answer). The last cause: the cause"), "{told}");
    }
}
