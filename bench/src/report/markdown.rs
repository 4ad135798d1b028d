//! A report as Markdown, without its pictures.

use std::fmt::Write as _;

use super::document::{Block, Document, Entry, Section, Table, Tone};

pub fn markdown(document: &Document) -> String {
    let mut text = format!("# {}\n\n", escaped(&document.title));
    for sentence in &document.verdict {
        line(&mut text, &format!("- **{}**", escaped(sentence)));
    }
    line(&mut text, &format!("\n{}", escaped(&document.origin)));
    for section in &document.sections {
        write_section(&mut text, section);
    }
    text
}

/// What has only pictures to show is for the page.
fn write_section(text: &mut String, section: &Section) {
    let is_picture = |block: &Block| matches!(block, Block::Pictures { .. });
    if section.blocks.iter().all(is_picture) {
        return;
    }
    line(text, &format!("\n## {}", escaped(&section.heading)));
    for block in &section.blocks {
        match block {
            Block::Text(words) => line(text, &format!("\n{}", escaped(words))),
            Block::Command(command) => line(text, &format!("\n```sh\n{command}\n```")),
            Block::Table(table) => write_table(text, table),
            Block::Pictures { .. } => {}
        }
    }
}

fn write_table(text: &mut String, table: &Table) {
    line(text, &format!("\n{}\n", escaped(&table.title)));
    let heading = table.heading.iter().map(|name| escaped(name));
    write_row(text, heading);
    let alignment = (0..table.heading.len()).map(|place| if place == 0 { "---" } else { "---:" });
    write_row(text, alignment.map(str::to_owned));
    for row in &table.rows {
        write_row(text, row.iter().map(entry));
    }
}

fn entry(entry: &Entry) -> String {
    let text = escaped(&entry.text);
    match entry.tone {
        Tone::Best => format!("**{text}**"),
        Tone::Plain | Tone::Better | Tone::Worse => text,
    }
}

fn write_row(text: &mut String, cells: impl Iterator<Item = String>) {
    let cells: Vec<_> = cells.collect();
    line(text, &format!("| {} |", cells.join(" | ")));
}

fn line(text: &mut String, line: &str) {
    writeln!(text, "{line}").expect("a String takes all that it is given");
}

/// Names come from files: what Markdown or HTML would take for its own is made to be text, and a table's cell stays one.
fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '&' => safe.push_str("&amp;"),
            '\\' | '`' | '*' | '_' | '[' | ']' | '|' => safe.extend(['\\', letter]),
            '\n' | '\r' => safe.push(' '),
            other => safe.push(other),
        }
    }
    safe
}
