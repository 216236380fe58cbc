//! Finds the modules that a source file names by `crate::` and `super::`.

/// First names of the paths that begin with `crate::`.
pub(super) fn crate_modules(source: &str) -> Vec<String> {
    let words = words(source);
    starts(&words, "crate")
        .flat_map(|at| names(&words[at..]))
        .collect()
}

/// First names of the paths that reach the crate's root by `super::`, in a module that is `depth`
/// levels below the root. Longer chains count too: modules inside a file add levels.
pub(super) fn super_modules(source: &str, depth: usize) -> Vec<String> {
    let words = words(source);
    let chains = starts(&words, "super").filter(|at| {
        let supers = words[..*at].rchunks_exact(2);
        let length = supers
            .take_while(|pair| pair[0] == "super" && pair[1] == "::")
            .count();
        length >= depth
    });
    chains
        .flat_map(|at| names(&words[at..]))
        .filter(|name| name != "super")
        .collect()
}

/// Positions after each `root::`.
fn starts<'a>(words: &'a [String], root: &'a str) -> impl Iterator<Item = usize> + 'a {
    words
        .windows(2)
        .enumerate()
        .filter(move |(_, pair)| pair[0] == root && pair[1] == "::")
        .map(|(at, _)| at + 2)
}

/// The name at this position, or the first names of the group at it.
fn names(words: &[String]) -> Vec<String> {
    match words.first().map(String::as_str) {
        Some("{") => group(&words[1..]),
        Some(name) => vec![name.to_owned()],
        None => Vec::new(),
    }
}

fn group(words: &[String]) -> Vec<String> {
    let mut names = Vec::new();
    let mut depth = 0_u32;
    let mut is_first = true;
    for word in words {
        match word.as_str() {
            "{" => depth += 1,
            "}" if depth == 0 => break,
            "}" => depth -= 1,
            "," if depth == 0 => {
                is_first = true;
                continue;
            }
            name if depth == 0 && is_first => names.push(name.to_owned()),
            _ => {}
        }
        is_first = false;
    }
    names
}

/// Identifiers, `::` and single characters, without comments and texts.
fn words(source: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut rest = source;
    while let Some(first) = rest.chars().next() {
        let length = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |end| end + 2)
        } else if first == '"' {
            text_length(rest)
        } else if let Some(length) = raw_text_length(rest) {
            length
        } else if let Some(quote) = ["'\"'", "'\\\"'"]
            .iter()
            .find(|quote| rest.starts_with(**quote))
        {
            quote.len()
        } else if is_identifier(first) {
            let length = rest.find(|c| !is_identifier(c)).unwrap_or(rest.len());
            words.push(rest[..length].to_owned());
            length
        } else if rest.starts_with("::") {
            words.push("::".to_owned());
            2
        } else {
            if !first.is_whitespace() {
                words.push(first.to_string());
            }
            first.len_utf8()
        };
        rest = &rest[length..];
    }
    words
}

fn is_identifier(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}

/// The length of the text literal that begins here, its quotes included.
fn text_length(source: &str) -> usize {
    let mut is_escaped = false;
    for (at, character) in source.char_indices().skip(1) {
        match character {
            '"' if !is_escaped => return at + 1,
            '\\' => is_escaped = !is_escaped,
            _ => is_escaped = false,
        }
    }
    source.len()
}

/// The same for a raw text literal, such as `r#"…"#`.
fn raw_text_length(source: &str) -> Option<usize> {
    let behind_marker = source
        .strip_prefix("br")
        .or_else(|| source.strip_prefix('r'))?;
    let inside = behind_marker.trim_start_matches('#');
    let hashes = &behind_marker[..behind_marker.len() - inside.len()];
    let text = inside.strip_prefix('"')?;
    let end = text.find(&format!("\"{hashes}"))?;
    Some(source.len() - text.len() + end + 1 + hashes.len())
}
