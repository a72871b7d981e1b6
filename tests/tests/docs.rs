//! What the pages say is so: their commands run, their links lead somewhere,
//! their lists are complete, and what they quote is what Belljar says.
#![cfg(target_os = "linux")]

#[path = "docs/commands.rs"]
mod commands;
#[path = "docs/endings.rs"]
mod endings;
#[path = "docs/enforcement.rs"]
mod enforcement;
#[path = "docs/forms.rs"]
mod forms;
#[path = "docs/links.rs"]
mod links;
#[path = "docs/messages.rs"]
mod messages;
#[path = "docs/page.rs"]
mod page;
#[path = "docs/presets.rs"]
mod presets;
#[path = "docs/rules.rs"]
mod rules;
#[path = "docs/sources.rs"]
mod sources;
