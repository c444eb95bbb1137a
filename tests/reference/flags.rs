//! The commands and their flags, as clap knows them.

use clap::builder::StyledStr;
use clap::{Arg, Command, CommandFactory};
use postern::cli::Cli;

use crate::text::{anchor, codes, escape, take_sentence};

/// Flags that the same commands have.
struct Group {
    commands: Vec<String>,
    flags: String,
}

impl Group {
    fn heading(&self) -> String {
        format!("Flags of {}", codes(&self.commands.iter().map(String::as_str).collect::<Vec<_>>()))
    }
}

/// The page.
pub fn page() -> String {
    let mut program = Cli::command();
    program.build();
    let commands: Vec<Command> = subcommands(&program).cloned().collect();
    let groups = groups(&commands);
    let title = "# Commands and flags\n\nEvery flag of `postern run`, `postern serve` and `postern control` is an \
                 environment variable too. A flag takes precedence over its variable.\n\n";
    let sections = commands.iter().map(|command| command_section(command, &groups));
    let flags = groups.iter().map(|group| format!("## {}\n\n{}", group.heading(), group.flags));
    [title.to_owned()].into_iter().chain(sections).chain(flags).collect()
}

fn subcommands(command: &Command) -> impl Iterator<Item = &Command> {
    command.get_subcommands().filter(|command| command.get_name() != "help")
}

fn full_name(command: &Command) -> String {
    command.get_bin_name().expect("a built command").to_owned()
}

/// Flags and arguments in the order of the help.
fn arguments(command: &Command) -> impl Iterator<Item = &Arg> {
    command.get_arguments().filter(|argument| !["help", "version"].contains(&argument.get_id().as_str()))
}

/// The flags of all commands, each once. A flag belongs to the commands that describe it in the same words.
fn groups(commands: &[Command]) -> Vec<Group> {
    let mut flags: Vec<(String, Vec<String>)> = Vec::new();
    for command in commands {
        for flag in arguments(command).filter(|argument| !argument.is_positional()) {
            let section = flag_section(flag);
            match flags.iter_mut().find(|(known, _)| *known == section) {
                Some((_, of)) => of.push(full_name(command)),
                None => flags.push((section, vec![full_name(command)])),
            }
        }
    }
    let mut groups: Vec<Group> = Vec::new();
    for (section, commands) in flags {
        match groups.iter_mut().find(|group| group.commands == commands) {
            Some(group) => group.flags += &section,
            None => groups.push(Group { commands, flags: section }),
        }
    }
    groups
}

fn command_section(command: &Command, groups: &[Group]) -> String {
    let name = full_name(command);
    let own = format!("## `{name}`\n\n{}\n\n", about(command));
    let nested = subcommands(command).map(|nested| nested_section(nested, command));
    let links = groups.iter().filter(|group| group.commands.contains(&name));
    let links: Vec<String> =
        links.map(|group| format!("- [{}](#{})\n", group.heading(), anchor(&group.heading()))).collect();
    let links = if links.is_empty() { String::new() } else { format!("Its flags:\n\n{}\n", links.concat()) };
    [own].into_iter().chain(nested).chain([links]).collect()
}

fn nested_section(nested: &Command, outer: &Command) -> String {
    let title = format!("### `{}`\n\n{}\n\n```text\n{}\n```\n\n", full_name(nested), about(nested), usage(nested));
    let is_global = |argument: &&Arg| arguments(outer).any(|flag| flag.get_id() == argument.get_id());
    let own: Vec<&Arg> = arguments(nested).filter(|argument| !is_global(argument)).collect();
    [title].into_iter().chain(own.into_iter().map(argument_item)).chain(["\n".to_owned()]).collect()
}

fn usage(command: &Command) -> String {
    let usage = command.clone().render_usage().to_string();
    usage.trim_start_matches("Usage:").trim().to_owned()
}

fn about(command: &Command) -> String {
    sentences(command.get_long_about().or(command.get_about()))
}

/// clap leaves the full stop of a single paragraph out.
fn sentences(text: Option<&StyledStr>) -> String {
    let text = text.map(ToString::to_string).unwrap_or_default();
    let end = if text.is_empty() || text.ends_with('.') { "" } else { "." };
    format!("{text}{end}")
}

fn help(argument: &Arg) -> String {
    sentences(argument.get_long_help().or(argument.get_help()))
}

/// An argument of a nested command.
fn argument_item(argument: &Arg) -> String {
    format!("- `{argument}`: {}\n", escape(&help(argument)))
}

/// The section of a flag: how to give it, what it does, its default and its values.
fn flag_section(flag: &Arg) -> String {
    let mut text = help(flag);
    let mut paragraphs = vec![form(flag)];
    let described = take_sentence(&text, "Default: ").map(|(sentence, rest)| {
        text = rest;
        escape(&sentence)
    });
    paragraphs.push(escape(&text));
    let values = flag.get_default_values().iter().map(|value| value.to_string_lossy());
    let values =
        values.filter(|_| takes_value(flag) && !flag.is_hide_default_value_set()).collect::<Vec<_>>().join(",");
    paragraphs.extend(if values.is_empty() { described } else { Some(format!("Default: `{values}`.")) });
    let possible = flag.get_possible_values();
    let rows = possible.iter().filter(|_| takes_value(flag)).map(|value| {
        let meaning = value.get_help().map(ToString::to_string).unwrap_or_default();
        format!("| `{}` | {} |\n", value.get_name(), escape(&meaning))
    });
    let rows: String = rows.collect();
    if !rows.is_empty() {
        paragraphs.push(format!("| value | meaning |\n|---|---|\n{}", rows.trim_end()));
    }
    paragraphs.retain(|paragraph| !paragraph.is_empty());
    format!("### `--{}`\n\n{}\n\n", flag.get_long().expect("a long flag"), paragraphs.join("\n\n"))
}

fn takes_value(flag: &Arg) -> bool {
    flag.get_action().takes_values()
}

/// The flag with its value, the environment variable, and whether it is required.
fn form(flag: &Arg) -> String {
    let long = flag.get_long().expect("a long flag");
    let names = flag.get_value_names().into_iter().flatten();
    let value = names.flat_map(|name| [" ", name.as_str()]).collect::<String>();
    let value = if takes_value(flag) { value } else { String::new() };
    let short = flag.get_short().map(|short| format!("`-{short}{value}`, ")).unwrap_or_default();
    let variable = flag.get_env().map(|name| format!(", environment variable `{}`", name.to_string_lossy()));
    let required = if flag.is_required_set() { ", required" } else { "" };
    format!("{short}`--{long}{value}`{}{required}", variable.unwrap_or_default())
}
