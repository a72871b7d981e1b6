//! What a definition of clap's cannot say of completions: an option whose values are
//! words or files, and words that only come after `--`. It is put into the scripts
//! that were made, where those have a place for it.

use belljar_policy::group::Group;
use clap_complete::aot::Shell;

/// What can be asked of `belljar why`.
const VERBS: &str = "read write exec connect call";

/// The script with the groups beside the files that `--read` takes, and the verbs of
/// `belljar why` after `--`. The shells that complete no values stay as they are.
pub(super) fn told(shell: Shell, script: &str) -> String {
    match shell {
        Shell::Bash => bash(script),
        Shell::Zsh => zsh(script),
        Shell::Fish => fish(script),
        _ => script.to_owned(),
    }
}

fn groups() -> String {
    let words: Vec<&str> = Group::ALL.iter().map(|group| group.word()).collect();
    words.join(" ")
}

fn bash(script: &str) -> String {
    const FILES: &str = "COMPREPLY=($(compgen -f \"${cur}\"))";
    let both = format!(
        "COMPREPLY=($(compgen -f -W \"{}\" -- \"${{cur}}\"))",
        groups()
    );
    let verbs = format!(
        "                --)\n                    COMPREPLY=($(compgen -W \"{VERBS}\" -- \"${{cur}}\"))\n                    return 0\n                    ;;\n"
    );
    let mut text = String::with_capacity(script.len());
    let (mut of_read, mut of_why) = (false, false);
    for line in script.lines() {
        match line {
            _ if of_read => text.push_str(&line.replace(FILES, &both)),
            line => text.push_str(line),
        }
        text.push('\n');
        of_read = line.trim_start() == "--read)";
        of_why |= line.trim_start() == "belljar__subcmd__why)";
        if of_why && line.trim_start() == "case \"${prev}\" in" {
            text.push_str(&verbs);
            of_why = false;
        }
    }
    text
}

fn zsh(script: &str) -> String {
    const PROGRAM: &str = "'*::words -- What to run:_cmdambivalent'";
    // Where its functions end and the first is called.
    const CALL: &str = "if [ \"$funcstack[1]\" = \"_belljar\" ]; then";
    let functions = format!(
        "_belljar_readable() {{\n    _alternative 'groups:group of paths:({})' 'files:path:_files'\n}}\n\n\
         _belljar_asked() {{\n    _alternative 'questions:question:({VERBS})' 'programs:program:_cmdambivalent'\n}}\n\n{CALL}",
        groups()
    );
    let mut of_why = false;
    let lines = script.lines().map(|line| {
        if line.starts_with('(') {
            of_why = line == "(why)";
        }
        match line {
            _ if line.starts_with("'*--read=") => line.replace(":_files'", ":_belljar_readable'"),
            _ if of_why => line.replace(
                PROGRAM,
                "'*::words -- What is asked, or what to run:_belljar_asked'",
            ),
            _ => line.to_owned(),
        }
    });
    let lines: Vec<String> = lines.collect();
    format!("{}\n", lines.join("\n")).replace(CALL, &functions)
}

fn fish(script: &str) -> String {
    let lines = script.lines().map(|line| match line {
        _ if line.contains(" -l read ") && line.ends_with(" -r -F") => {
            format!("{line} -a \"{}\"", groups())
        }
        _ => line.to_owned(),
    });
    let lines: Vec<String> = lines.collect();
    format!(
        "{}\ncomplete -c belljar -n \"__fish_belljar_using_subcommand why; and contains -- -- (commandline -opc)\" -f -a \"{VERBS}\"\n",
        lines.join("\n")
    )
}
