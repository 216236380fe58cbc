//! Finds the modules that a source file names through `crate::` and `super::`.

/// The first names after `crate::`.
pub(super) fn crate_modules(source: &str) -> impl Iterator<Item = String> {
    let words = words(source);
    let names: Vec<String> = starts(&words, "crate")
        .flat_map(|at| names(&words[at..]))
        .collect();
    names.into_iter()
}

/// The first names after a chain of `super::`. The length of the chain is ignored: a module should
/// not have the name of one upstream anyway.
pub(super) fn super_modules(source: &str) -> impl Iterator<Item = String> {
    let words = words(source);
    let names: Vec<String> = starts(&words, "super")
        .flat_map(|at| names(&words[at..]))
        .collect();
    names.into_iter().filter(|name| name != "super")
}

/// The tokens after each `root::`.
fn starts<'a>(words: &'a [String], root: &'a str) -> impl Iterator<Item = usize> + 'a {
    words
        .windows(2)
        .enumerate()
        .filter(move |(_, pair)| pair[0] == root && pair[1] == "::")
        .map(|(at, _)| at + 2)
}

/// The name at the start, or the first names in the group at the start.
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

/// Identifiers, `::` and single characters, without comments and literals.
fn words(source: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut rest = source;
    while let Some(first) = rest.chars().next() {
        // Comments and literals first: they may contain text that looks like a path.
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

/// The length of the string literal at the start, including its quotes.
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

/// The length of the raw string literal at the start, such as `r#"…"#`.
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
