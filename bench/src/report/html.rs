//! A report as one page that needs nothing else: no network, no script. It is light or dark as the reader's screen is,
//! and prints on white.
//!
//! The template is maud's: every text is escaped unless it is said to be markup, and the only such are the pictures'
//! bodies, which the drawing library escapes, and the style sheet.

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::document::{Block, Document, Entry, Figure, Section, Table, Tone};

const STYLE: &str = include_str!("style.css");

pub fn html(document: &Document) -> String {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (document.title) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                header {
                    h1 { (document.title) }
                    @if !document.verdict.is_empty() {
                        ul.verdict { @for sentence in &document.verdict { li { (sentence) } } }
                    }
                    p.origin { (document.origin) }
                }
                main { @for section in &document.sections { (self::section(section)) } }
            }
        }
    };
    page.into_string()
}

fn section(section: &Section) -> Markup {
    html! {
        section {
            h2 { (section.heading) }
            @for block in &section.blocks { (self::block(block)) }
        }
    }
}

fn block(block: &Block) -> Markup {
    match block {
        Block::Text(text) => html! { p { (text) } },
        Block::Command(command) => html! { pre { code { (command) } } },
        Block::Table(table) => self::table(table),
        Block::Pictures { about, figures } => html! {
            p { (about) }
            div.pictures { @for figure in figures { (self::figure(figure)) } }
        },
    }
}

fn figure(figure: &Figure) -> Markup {
    let picture = &figure.picture;
    let view = format!("0 0 {} {}", picture.width, picture.height);
    html! {
        figure {
            figcaption { (figure.title) }
            svg role="img" aria-label=(figure.title) viewBox=(view) width=(picture.width) height=(picture.height) {
                (PreEscaped(&picture.body))
            }
        }
    }
}

/// Wide ones are moved sideways on a small screen, with the keys too.
fn table(table: &Table) -> Markup {
    html! {
        div.table tabindex="0" role="region" aria-label=(table.title) {
            table {
                caption { (table.title) }
                thead { tr { @for name in &table.heading { th scope="col" { (name) } } } }
                tbody { @for row in &table.rows { (self::row(row)) } }
            }
        }
    }
}

fn row(entries: &[Entry]) -> Markup {
    html! {
        tr {
            @for (place, entry) in entries.iter().enumerate() {
                @if place == 0 {
                    th scope="row" { (entry.text) }
                } @else {
                    td class=[class(entry.tone)] { (entry.text) }
                }
            }
        }
    }
}

const fn class(tone: Tone) -> Option<&'static str> {
    match tone {
        Tone::Plain => None,
        Tone::Best => Some("best"),
        Tone::Better => Some("better"),
        Tone::Worse => Some("worse"),
    }
}
