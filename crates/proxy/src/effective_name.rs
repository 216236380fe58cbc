//! Names in the form that takes effect at a backend that stores objects as files.
//!
//! Such a server drops leading and doubled slashes, takes `\` for `/`, and resolves `.` and `..`.
//! So a key may denote an object under another prefix or, beyond the bucket's own name, in another
//! bucket. Keys are passed on as received; this module judges where they may lead.

/// Distance that a key may lead from its literal place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum KeyReach {
    /// The key denotes the same object everywhere.
    Literal,
    /// The key may denote another object of the bucket.
    Bucket,
    /// The key may denote an object of another bucket.
    Beyond,
}

impl KeyReach {
    /// Judges a key, or the prefix of a listing. A slash at the end changes nothing.
    pub(crate) fn from_key(key: &str) -> Self {
        let mut reach = Self::Literal;
        let mut depth = 0_usize;
        let mut segments = key.split(['/', '\\']).peekable();
        while let Some(segment) = segments.next() {
            match segment {
                "" if segments.peek().is_none() => {}
                "" | "." => reach = reach.max(Self::Bucket),
                // `depth` counts the segments below the bucket: going above it leaves the bucket.
                ".." => match depth.checked_sub(1) {
                    Some(less) => {
                        depth = less;
                        reach = reach.max(Self::Bucket);
                    }
                    None => return Self::Beyond,
                },
                _ => depth += 1,
            }
        }
        reach
    }
}

/// Returns whether a key is under the state prefix of any bucket, or may take effect there.
pub(crate) fn is_state_key(object_key: &str, state_prefix: &str) -> bool {
    let prefix: Vec<&str> = segments(state_prefix).collect();
    // The first segment of the path stands for the bucket's own name.
    let mut path = vec![""];
    // If the path leaves the folder of all buckets, or begins at the root of the file system, the
    // position of the buckets is unknown.
    let mut is_lost = object_key.starts_with(['/', '\\']);
    for segment in segments(object_key) {
        if segment != ".." {
            path.push(segment);
        } else if path.pop().is_none() {
            is_lost = true;
        }
    }
    // With an unknown position the state prefix counts anywhere in the path.
    let usual = path.get(1..).is_some_and(|key| key.starts_with(&prefix));
    usual || is_lost && path.windows(prefix.len()).any(|part| part == prefix)
}

fn segments(text: &str) -> impl Iterator<Item = &str> {
    text.split(['/', '\\'])
        .filter(|segment| !matches!(*segment, "" | "."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_reaches_as_far_as_its_dots_and_slashes_lead() {
        for (key, reach) in [
            ("", KeyReach::Literal),
            ("a", KeyReach::Literal),
            ("a/b.c/..d/...", KeyReach::Literal),
            ("a/b/", KeyReach::Literal),
            ("a\\b", KeyReach::Literal),
            ("a//b", KeyReach::Bucket),
            ("/a", KeyReach::Bucket),
            ("a/./b", KeyReach::Bucket),
            ("a/.", KeyReach::Bucket),
            ("a/..", KeyReach::Bucket),
            ("a/../b", KeyReach::Bucket),
            ("a\\..\\b", KeyReach::Bucket),
            ("a/b/../../c", KeyReach::Bucket),
            ("..", KeyReach::Beyond),
            ("../b", KeyReach::Beyond),
            ("a/../../b/c", KeyReach::Beyond),
            ("a//../../b/c", KeyReach::Beyond),
            ("a/./../../b", KeyReach::Beyond),
        ] {
            assert_eq!(KeyReach::from_key(key), reach, "{key}");
        }
    }

    #[test]
    fn the_state_prefix_is_known_in_every_bucket_and_spelling() {
        for (key, is_state) in [
            (".s3proxy/uploads/x/state", true),
            (".s3proxy", true),
            ("/.s3proxy//uploads", true),
            ("a/../.s3proxy/uploads", true),
            ("a/..\\.s3proxy\\uploads", true),
            ("p/../../alpha/.s3proxy/uploads", true),
            ("../alpha/./.s3proxy/uploads", true),
            ("../../store/alpha/.s3proxy/uploads", true),
            ("/srv/store/alpha/.s3proxy/uploads", true),
            (".s3proxyx/uploads", false),
            ("a/.s3proxy/uploads", false),
            ("../alpha/a/.s3proxy/uploads", false),
            ("../alpha", false),
            ("..", false),
            ("../..", false),
        ] {
            assert_eq!(is_state_key(key, ".s3proxy/"), is_state, "{key}");
        }
    }
}
