//! Finds the modules that a source file names through `crate::` and `super::`.

use crate::words::words;

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
