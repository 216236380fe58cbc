//! Splits Rust sources into words.

/// Identifiers, `::` and single characters of a source file, without comments and literals.
pub(crate) fn words(source: &str) -> Vec<String> {
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

/// Length of the text literal that begins here, including its quotes.
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

/// Length of the raw text literal that begins here, such as `r#"…"#`.
fn raw_text_length(source: &str) -> Option<usize> {
    let after_marker = source
        .strip_prefix("br")
        .or_else(|| source.strip_prefix('r'))?;
    let inside = after_marker.trim_start_matches('#');
    let hashes = &after_marker[..after_marker.len() - inside.len()];
    let text = inside.strip_prefix('"')?;
    let end = text.find(&format!("\"{hashes}"))?;
    Some(source.len() - text.len() + end + 1 + hashes.len())
}
