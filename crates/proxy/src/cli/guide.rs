//! Sections of a command's help and manual page after the options: notes, examples, exit status.
//!
//! Texts are written without line breaks. Help is wrapped by clap at the terminal's width, manual
//! pages by `man`. Examples are never wrapped, so each of their lines fits 80 columns.

use std::fmt::Write;

use clap::builder::StyledStr;

use super::STYLES;

/// Width in columns of every line of an example, and of the table of statuses.
#[cfg(test)]
const NARROW: usize = 80;

/// Sections after the options of one command.
pub(super) struct Guide {
    /// Paragraphs before the examples.
    pub(super) notes: &'static [&'static str],
    /// One command each; a long one continues after a backslash.
    pub(super) examples: &'static [&'static str],
    /// Exit statuses with their meanings.
    pub(super) statuses: &'static [(&'static str, &'static str)],
    /// Paragraphs at the end.
    pub(super) closing: &'static [&'static str],
}

impl Guide {
    /// Renders the text for `-h`: only the examples.
    pub(super) fn brief(&self) -> StyledStr {
        let mut text = String::new();
        self.push_examples(&mut text);
        StyledStr::from(text.trim_end().to_owned())
    }

    /// Renders the text for `--help`.
    pub(super) fn full(&self) -> StyledStr {
        let mut text = String::new();
        push_paragraphs(&mut text, self.notes);
        self.push_examples(&mut text);
        self.push_statuses(&mut text);
        push_paragraphs(&mut text, self.closing);
        StyledStr::from(text.trim_end().to_owned())
    }

    fn push_examples(&self, text: &mut String) {
        if self.examples.is_empty() {
            return;
        }
        push_heading(text, "Examples:");
        for example in self.examples {
            for line in example.lines() {
                push(text, format_args!("  {line}\n"));
            }
        }
        text.push('\n');
    }

    fn push_statuses(&self, text: &mut String) {
        if self.statuses.is_empty() {
            return;
        }
        push_heading(text, "Exit status:");
        let width = self.statuses.iter().map(|(status, _)| status.len()).max();
        let width = width.unwrap_or_default();
        for (status, meaning) in self.statuses {
            push(text, format_args!("  {status:width$}  {meaning}\n"));
        }
        text.push('\n');
    }
}

fn push_paragraphs(text: &mut String, paragraphs: &[&str]) {
    for paragraph in paragraphs {
        push(text, format_args!("{paragraph}\n\n"));
    }
}

/// Writes a heading in clap's style for the headings of options.
fn push_heading(text: &mut String, heading: &str) {
    let style = STYLES.get_header();
    push(text, format_args!("{style}{heading}{style:#}\n"));
}

fn push(text: &mut String, arguments: std::fmt::Arguments<'_>) {
    text.write_fmt(arguments)
        .expect("writing to a String cannot fail");
}

#[cfg(test)]
mod tests {
    use super::super::guides;
    use super::*;

    #[test]
    fn examples_and_statuses_fit_a_narrow_terminal() {
        for (command, guide) in guides::ALL {
            let mut text = String::new();
            guide.push_examples(&mut text);
            guide.push_statuses(&mut text);
            for line in text.lines() {
                let width = line.chars().count();
                assert!(width <= NARROW, "{command}: {width} columns: {line}");
            }
        }
    }
}
