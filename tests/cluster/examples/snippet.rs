//! The fenced blocks of the Markdown files.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::harness::checkout;

/// A fenced block. Its info string is `LANGUAGE`, or `LANGUAGE fragment` for a part of an object.
pub struct Snippet {
    /// File and line, for messages.
    pub place: String,
    pub language: String,
    pub is_fragment: bool,
    pub text: String,
}

impl Snippet {
    /// The documents of a YAML snippet.
    pub fn documents(&self) -> Vec<Value> {
        serde_saphyr::from_multiple(&self.text).unwrap_or_else(|error| panic!("{}: {error}", self.place))
    }
}

/// The snippets of README.md and of every page in `docs`, in one of these languages.
pub fn snippets(languages: &[&str]) -> Vec<Snippet> {
    let mut files = vec![checkout().join("README.md")];
    add_pages(&checkout().join("docs"), &mut files);
    let found: Vec<Snippet> = files.iter().flat_map(|file| snippets_of(file)).collect();
    found.into_iter().filter(|snippet| languages.contains(&snippet.language.as_str())).collect()
}

fn add_pages(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            add_pages(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "md") {
            files.push(path);
        }
    }
}

fn snippets_of(file: &Path) -> Vec<Snippet> {
    let page = std::fs::read_to_string(file).expect("a page");
    let mut found = Vec::new();
    let mut open: Option<(Snippet, usize)> = None;
    for (number, line) in page.lines().enumerate() {
        let fence = line.trim_start().strip_prefix("```");
        open = match (open, fence) {
            (None, Some(info)) => {
                let mut words = info.split_whitespace().map(str::to_owned);
                let language = words.next().unwrap_or_default();
                let place = format!("{}:{}", file.display(), number + 1);
                let is_fragment = words.next().as_deref() == Some("fragment");
                Some((
                    Snippet { place, language, is_fragment, text: String::new() },
                    line.find('`').unwrap_or_default(),
                ))
            }
            (Some((snippet, _)), Some(_)) => {
                found.push(snippet);
                None
            }
            // A block in a list is indented as its fence.
            (Some((mut snippet, indent)), None) => {
                snippet.text += line.get(indent..).unwrap_or_default();
                snippet.text += "\n";
                Some((snippet, indent))
            }
            (None, None) => None,
        };
    }
    assert!(open.is_none(), "{}: a block without end", file.display());
    found
}
