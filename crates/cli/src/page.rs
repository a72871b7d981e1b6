//! Text for people: 80 columns, and colour only on a terminal.

use std::{
    ffi::OsStr,
    fmt::Write as _,
    io::{self, IsTerminal as _, Write as _},
};

use anstyle::{AnsiColor, Style};

use crate::words::one_line;

/// Columns of a page.
const WIDTH: usize = 80;

/// Columns of what is answered, and of a short answer.
const LABEL: usize = 22;
const WORD: usize = 5;

/// What a word means, which a terminal shows by its colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tone {
    Plain,
    Heading,
    Good,
    Bad,
    Doubt,
}

/// Text in the making.
#[derive(Debug, Default)]
pub(crate) struct Page {
    text: String,
    colour: bool,
    /// A heading is the last that was written, or nothing is.
    below_heading: bool,
}

impl Page {
    /// A page for stdout.
    pub(crate) fn for_stdout() -> Self {
        Self::new(io::stdout().is_terminal())
    }

    /// A page for stderr.
    pub(crate) fn for_stderr() -> Self {
        Self::new(io::stderr().is_terminal())
    }

    fn new(terminal: bool) -> Self {
        let said = |name| std::env::var_os(name).unwrap_or_default();
        Self {
            text: String::new(),
            colour: terminal && is_wanted(&said("NO_COLOR"), &said("TERM")),
            below_heading: true,
        }
    }

    /// A heading, after an empty line where something stands above it.
    pub(crate) fn heading(&mut self, text: &str) {
        if !self.text.is_empty() {
            self.text.push('\n');
        }
        let text = self.toned(Tone::Heading, &one_line(text));
        let _ = writeln!(self.text, "{text}");
        self.below_heading = true;
    }

    /// A paragraph from this column on.
    pub(crate) fn paragraph(&mut self, indent: usize, text: &str) {
        self.hanging(&" ".repeat(indent), indent, Tone::Plain, text);
    }

    /// Words in front, then text in a column of its own.
    pub(crate) fn row(&mut self, label: &str, column: usize, tone: Tone, text: &str) {
        let label = one_line(label);
        if label.chars().count() > column {
            let _ = writeln!(self.text, "{label}");
            return self.hanging(&" ".repeat(column), column, tone, text);
        }
        self.hanging(&format!("{label:column$}"), column, tone, text);
    }

    /// An empty line, where something other than a heading stands above.
    pub(crate) fn gap(&mut self) {
        if !self.below_heading {
            self.text.push('\n');
        }
        self.below_heading = false;
    }

    /// Words in front, a short answer, then text in a column of its own.
    pub(crate) fn answer(&mut self, label: &str, (word, tone): (&str, Tone), text: &str) {
        let label = format!("{:LABEL$}", one_line(label));
        let blanks = " ".repeat(WORD.saturating_sub(word.chars().count()));
        let first = format!("{label}{}{blanks}", self.toned(tone, word));
        if text.is_empty() {
            let _ = writeln!(self.text, "{}", first.trim_end());
        } else {
            self.hanging(&first, LABEL + WORD, Tone::Plain, text);
        }
    }

    /// Words to paste, on a line of their own however long it is.
    pub(crate) fn verbatim(&mut self, label: &str, column: usize, text: &str) {
        let _ = writeln!(self.text, "{:column$}{}", one_line(label), one_line(text));
    }

    /// A line as it is, in its tone.
    pub(crate) fn line(&mut self, tone: Tone, text: &str) {
        let text = self.toned(tone, &one_line(text));
        let _ = writeln!(self.text, "{text}");
    }

    fn hanging(&mut self, first: &str, indent: usize, tone: Tone, text: &str) {
        let text = one_line(text);
        let room = WIDTH.saturating_sub(indent).max(20);
        // A path is never broken, nor what stands in backquotes: it is there to be pasted.
        let options = textwrap::Options::new(room)
            .break_words(false)
            .word_separator(textwrap::WordSeparator::Custom(words))
            .word_splitter(textwrap::WordSplitter::NoHyphenation);
        for (number, line) in textwrap::wrap(&text, options).iter().enumerate() {
            let line = self.toned(tone, line);
            let line = match number {
                0 => format!("{first}{line}"),
                _ => format!("{}{line}", " ".repeat(indent)),
            };
            let _ = writeln!(self.text, "{}", line.trim_end());
        }
    }

    fn toned(&self, tone: Tone, text: &str) -> String {
        let style = match tone {
            _ if !self.colour => return text.to_owned(),
            Tone::Plain => return text.to_owned(),
            Tone::Heading => Style::new().bold(),
            Tone::Good => AnsiColor::Green.on_default(),
            Tone::Bad => AnsiColor::Red.on_default(),
            Tone::Doubt => AnsiColor::Yellow.on_default(),
        };
        format!("{style}{text}{style:#}")
    }

    /// What has been written.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// Writes it out.
    ///
    /// # Errors
    /// Where stdout can't be written to; a reader that went away has what it wanted.
    pub(crate) fn print(&self) -> Result<(), PrintError> {
        print(self.text.as_bytes())
    }
}

/// Whether a terminal is to be given colour: <https://no-color.org>, and one that is
/// called dumb shows the escapes.
fn is_wanted(no_color: &OsStr, term: &OsStr) -> bool {
    no_color.is_empty() && term != "dumb"
}

/// Words with the spaces behind them; what stands in backquotes is one.
fn words(line: &str) -> Box<dyn Iterator<Item = textwrap::core::Word<'_>> + '_> {
    let mut quoted = false;
    let mut spaces = false;
    let mut from = 0;
    let mut words = Vec::new();
    for (at, letter) in line.char_indices() {
        if spaces && letter != ' ' {
            words.push(textwrap::core::Word::from(&line[from..at]));
            from = at;
        }
        quoted ^= letter == '`';
        spaces = letter == ' ' && !quoted;
    }
    words.push(textwrap::core::Word::from(&line[from..]));
    Box::new(words.into_iter())
}

/// Prints a document of JSON.
///
/// # Errors
/// Where stdout can't be written to.
pub(crate) fn print_json(document: &impl serde::Serialize) -> Result<(), PrintError> {
    print(json_text(document).map_err(PrintError)?.as_bytes())
}

/// A document as JSON. What steers a terminal or is not seen can only stand in its
/// strings, and is escaped there.
pub(crate) fn json_text(document: &impl serde::Serialize) -> io::Result<String> {
    let json = serde_json::to_string_pretty(document).map_err(io::Error::from)?;
    let mut text = String::with_capacity(json.len() + 1);
    for letter in json.chars() {
        let plain =
            letter == '\n' || one_line(letter.encode_utf8(&mut [0; 4])).len() == letter.len_utf8();
        match plain {
            true => text.push(letter),
            // JSON escapes by UTF-16: all of these are one unit.
            false => {
                let _ = write!(text, "\\u{:04x}", u32::from(letter));
            }
        }
    }
    text.push('\n');
    Ok(text)
}

/// Prints a text as it is: one that steers no terminal.
///
/// # Errors
/// Where stdout can't be written to.
pub(crate) fn print_text(text: &str) -> Result<(), PrintError> {
    print(text.as_bytes())
}

fn print(bytes: &[u8]) -> Result<(), PrintError> {
    match io::stdout().lock().write_all(bytes) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(PrintError(error)),
        _ => Ok(()),
    }
}

/// Nothing can be printed.
#[derive(Debug, thiserror::Error)]
#[error("cannot write to stdout")]
pub(crate) struct PrintError(#[source] io::Error);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_wrapped_in_its_column_and_steers_no_terminal() {
        let mut page = Page::default();
        page.row("rule", 12, Tone::Good, &"word ".repeat(40));
        page.row("a label that is long", 12, Tone::Plain, "x\x1b[2Jy");
        page.verbatim("flag", 12, &"/long".repeat(30));
        let lines: Vec<&str> = page.text().lines().collect();
        assert!(lines[0].starts_with("rule        word"));
        assert!(lines[1].starts_with("            word"));
        for line in lines.iter().filter(|line| !line.contains("/long")) {
            assert!(line.chars().count() <= WIDTH, "{line}");
        }
        assert!(!page.text().contains('\x1b'), "{:?}", page.text());
        assert!(page.text().contains("            x\\u{1b}[2Jy"));
    }

    #[test]
    fn what_is_to_be_pasted_is_whole_and_an_answer_stands_in_columns() {
        let mut page = Page::default();
        let command = format!("`{}`", "a b ".repeat(30));
        page.answer(
            "  name",
            ("no", Tone::Bad),
            &format!("do {command}, then go on"),
        );
        page.answer("  other", ("yes", Tone::Good), "");
        let lines: Vec<&str> = page.text().lines().collect();
        assert_eq!(lines[0], "  name                no   do");
        assert_eq!(lines[1].trim_start(), format!("{command},"));
        assert_eq!(lines[2], format!("{:27}then go on", ""));
        assert_eq!(lines[3], "  other               yes");
    }

    #[test]
    fn json_carries_nothing_that_steers_a_terminal_and_reads_back() {
        let said = "a\u{9b}31m\u{202e}b\n";
        let text = json_text(&said).unwrap();
        assert!(text.is_ascii(), "{text}");
        assert_eq!(serde_json::from_str::<String>(&text).unwrap(), said);
    }

    #[test]
    fn colour_is_only_where_it_is_wanted() {
        let page = |colour| Page {
            colour,
            ..Page::default()
        };
        assert_eq!(page(false).toned(Tone::Bad, "x"), "x");
        assert_eq!(page(true).toned(Tone::Bad, "x"), "\x1b[31mx\x1b[0m");
        for (no_color, term, wanted) in [
            ("", "xterm", true),
            ("", "", true),
            ("1", "xterm", false),
            ("", "dumb", false),
        ] {
            assert_eq!(is_wanted(no_color.as_ref(), term.as_ref()), wanted);
        }
    }
}
