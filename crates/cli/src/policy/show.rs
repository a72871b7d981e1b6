//! `belljar policy show`: what a policy comes to, as a policy file.

use std::{ffi::OsString, fmt::Write as _};

use belljar_policy::{
    Policy, data::Preset, effective::preset_limits, policy::Said, units::format_bound,
};
use clap::Args;

use super::{PolicyCommandError, read};
use crate::{
    ask::{Demands, demand},
    page::{print_json, print_text},
    words::one_line,
};

/// `belljar policy show`
#[derive(Args, Debug)]
pub(crate) struct Options {
    /// The policy's file (TOML or JSON); with #TABLE, what that table in it says
    #[arg(long, value_name = "FILE[#TABLE]")]
    policy: Option<OsString>,

    /// Where policy starts: minimal, standard, strict
    #[arg(long, value_name = "PRESET", value_parser = ["minimal", "standard", "strict", "locked-down"], hide_possible_values = true)]
    preset: Option<String>,

    /// What it comes to for one plugin, with what is said for that alone
    #[arg(long, value_name = "NAME")]
    plugin: Option<String>,

    /// Tell it in JSON: a list, with an object for each line of the policy
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    demands: Demands,
}

pub(super) fn run(options: &Options) -> Result<(), PolicyCommandError> {
    let mut policy = match &options.policy {
        Some(said) => read("--policy", said)?,
        None => Policy::default(),
    };
    demand(&mut policy, &options.demands)?;
    if let Some(name) = &options.plugin {
        if options.policy.is_some() && !policy.plugins.contains_key(name) {
            return Err(PolicyCommandError::NoPlugin {
                name: one_line(name),
            });
        }
        policy = policy.for_plugin(name);
        policy.plugins.clear();
    }
    if let Some(word) = &options.preset {
        policy.preset = Some(Said {
            value: Preset::from_word(word).unwrap_or(Preset::Strict),
            origin: "--preset".to_owned(),
        });
    }
    if options.json {
        print_json(&policy.lines())?;
    } else {
        let mut text = policy.to_toml();
        text.push_str(&rest(&policy, options.plugin.is_some()));
        print_text(text.trim_start_matches('\n'))?;
    }
    Ok(())
}

/// What is so without being said: comments, since they would be ceilings if they were
/// lines.
fn rest(policy: &Policy, of_plugin: bool) -> String {
    match policy.preset.as_ref().map(|said| said.value) {
        Some(preset) => limits(policy, preset),
        None if of_plugin => limits(policy, Preset::Strict),
        None => format!(
            "\n# No preset is said: a plugin runs under strict, a program under standard.\n{}{}",
            limits(policy, Preset::Strict),
            limits(policy, Preset::Standard)
        ),
    }
}

/// The limits that a preset sets where the policy sets none.
fn limits(policy: &Policy, preset: Preset) -> String {
    let own = policy.ceilings.as_ref();
    let mut text = String::new();
    for (limit, bound) in preset_limits(preset) {
        if own.is_none_or(|file| !file.limits.contains_key(&limit)) && bound.hard.is_some() {
            let _ = writeln!(text, "#   {limit}: {}", format_bound(limit, &bound));
        }
    }
    if text.is_empty() {
        return text;
    }
    format!("\n# Limits of preset {preset}, which nothing above changes:\n{text}")
}
