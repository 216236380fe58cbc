//! Patterns for bucket names and key prefixes: literal text in which `*` matches any text.
//!
//! There is no other syntax: no `?`, no classes, no escapes. S3 bucket names cannot contain `*`; a
//! key that does is matched by the `*` itself, which grants no more than any other text in its
//! place.

use std::str::FromStr;

/// Literal text in which `*` matches any text, including the empty one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    text: String,
}

/// Error that the pattern is empty.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("an empty pattern matches nothing")]
pub struct EmptyPattern;

impl FromStr for Pattern {
    type Err = EmptyPattern;

    fn from_str(text: &str) -> Result<Self, EmptyPattern> {
        if text.is_empty() {
            return Err(EmptyPattern);
        }
        Ok(Self {
            text: text.to_owned(),
        })
    }
}

impl Pattern {
    /// Returns the pattern `*`.
    #[must_use]
    pub fn everything() -> Self {
        Self {
            text: "*".to_owned(),
        }
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Returns whether the whole of `name` matches: the test for a bucket.
    #[must_use]
    pub fn matches(&self, name: &str) -> bool {
        matches(self.text.as_bytes(), name.as_bytes())
    }

    /// Returns whether `key` starts with text that matches: the test for a prefix. Every text that
    /// begins with a covered one is covered, too, so this also judges the prefix of a listing.
    #[must_use]
    pub fn covers(&self, key: &str) -> bool {
        let mut open_ended = self.text.clone().into_bytes();
        open_ended.push(b'*');
        matches(&open_ended, key.as_bytes())
    }
}

/// Greedy matching that backtracks to the last star only, so that the time is at most the product
/// of the two lengths, for any pattern.
fn matches(pattern: &[u8], text: &[u8]) -> bool {
    let (mut at_pattern, mut at_text) = (0, 0);
    let mut last_star: Option<(usize, usize)> = None;
    while at_text < text.len() {
        match pattern.get(at_pattern) {
            Some(b'*') => {
                last_star = Some((at_pattern, at_text));
                at_pattern += 1;
            }
            Some(byte) if *byte == text[at_text] => {
                at_pattern += 1;
                at_text += 1;
            }
            Some(_) | None => {
                let Some((star, taken)) = last_star else {
                    return false;
                };
                // Let the last star take one more byte, and match the rest again.
                last_star = Some((star, taken + 1));
                at_pattern = star + 1;
                at_text = taken + 1;
            }
        }
    }
    pattern[at_pattern..].iter().all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(text: &str) -> Pattern {
        text.parse().unwrap()
    }

    #[test]
    fn a_bucket_pattern_judges_the_whole_name() {
        assert!(pattern("logs").matches("logs"));
        assert!(!pattern("logs").matches("logs-2"));
        assert!(!pattern("logs").matches("my-logs"));
        assert!(pattern("app-*").matches("app-"));
        assert!(pattern("app-*").matches("app-eu-1"));
        assert!(!pattern("app-*").matches("app"));
        assert!(pattern("*-eu-*-x").matches("a-eu-b-eu-c-x"));
        assert!(!pattern("*-eu-*-x").matches("a-eu-x"));
        assert!(Pattern::everything().matches(""));
    }

    #[test]
    fn a_prefix_pattern_covers_what_begins_with_it() {
        assert!(pattern("a/").covers("a/"));
        assert!(pattern("a/").covers("a/b"));
        assert!(!pattern("a/").covers("a"));
        assert!(!pattern("a/").covers("b/a/"));
        assert!(pattern("users/*/inbox/").covers("users/7/inbox/letter"));
        assert!(!pattern("users/*/inbox/").covers("users/7/outbox/letter"));
    }

    #[test]
    fn an_empty_pattern_is_refused() {
        assert_eq!("".parse::<Pattern>(), Err(EmptyPattern));
    }

    #[test]
    fn many_stars_do_not_take_exponential_time() {
        assert!(!pattern(&"*a".repeat(60)).matches(&"a".repeat(59)));
        assert!(!pattern(&format!("{}b", "*a".repeat(60))).matches(&"a".repeat(1024)));
    }
}
