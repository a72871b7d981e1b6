//! The page `docs/groups.md`, written from the list itself.

use std::fmt::Write as _;

use super::{Group, ItemKind, Variable};

const HEAD: &str = "\
# Groups of paths

What each name stands for that can be said in place of a path to be read: `--read group:git`, and `read = [\"group:git\"]`
under `[filesystem]` of a policy or manifest ([policy.md](policy.md)). This page is written from the list in
`crates/policy/src/group` by `cargo xtask schema`, and a test holds the two together.
`belljar policy groups NAME` tells what one is on a machine.

- Of a group only what is on the machine is granted, each path by itself. `~/` is the home of whoever starts the jar, by `HOME`;
  nobody else's is looked at. `$NAME` is what that variable of theirs says, unless that holds secrets or a whole home. `*` stands for any letters of one name.
- A policy's `deny` holds inside a group: such a path is left out, and plan and report say so.
- No group stands for a secret. A path whose links lead to a known one is left out, and told.
- *in the jar's home*: `~/.gitconfig` is shown where the guest looks for it, such as `/home/plugin/.gitconfig`.
- *of the system*: what any program needs to start. It is only of consequence under `strict`, which shows nothing of it by itself,
  and a group of which nothing else is there is not there.
- Variables are set where neither a flag nor the manifest nor the policy says otherwise. Directories of programs come last on `PATH`.
- Rights are never part of a group. Where its programs need one under `strict`, it says so. Where other programs may be started as well, a
  directory of programs leaves `writable_code` unheld, so that `strict` wants `--allow jit` or `--best-effort writable_code` too.
- What pyenv, asdf and rustup have on `PATH` are shims, which start the program that they choose. Under `strict` that wants `--allow subprocesses`;
  or name the program itself, such as `~/.pyenv/versions/3.12.1/bin/python3`.

Your settings of git are seen by the first of these, and your passwords are not:

<!-- run -->
```sh
printf '[user]\nname = A Reader\n' > ~/.gitconfig
echo 'https://me:secret@example.com' > ~/.git-credentials
belljar run --read group:git -- cat /home/plugin/.gitconfig
belljar run --read group:git -- cat /home/plugin/.git-credentials || echo \"ended with $?\"
```

<!-- says -->
```text
name = A Reader
cat: /home/plugin/.git-credentials: No such file or directory
ended with 1
```

What one of them is on this machine, with `here` where a path is there:

<!-- run -->
```sh
belljar policy groups group:git
```

<!-- says -->
```text
Read in the jar's home
  here      …/.gitconfig
```

";

/// The whole page.
///
/// # Panics
/// Never: a string takes all that is written.
#[must_use]
pub fn page() -> String {
    let mut page = HEAD.to_owned();
    page.push_str(
        "| group | what it is for | risk | under `strict` it needs |\n|---|---|---|---|\n",
    );
    for group in Group::ALL {
        let about = group.about();
        let needs: Vec<String> = about
            .needs
            .iter()
            .map(|right| format!("`--allow {}`", right.word()))
            .collect();
        let needs = if needs.is_empty() {
            "–".to_owned()
        } else {
            needs.join(", ")
        };
        writeln!(
            page,
            "| `{group}` | {} | {}: {} | {needs} |",
            about.what, about.level, about.risk
        )
        .expect("a string");
    }
    for group in Group::ALL {
        one(&mut page, group);
    }
    page
}

fn one(page: &mut String, group: Group) {
    let about = group.about();
    writeln!(page, "\n## {group}\n").expect("a string");
    for (title, kind) in [
        ("read", ItemKind::Own),
        ("read, in the jar's home", ItemKind::Home),
        ("devices, read and written", ItemKind::Device),
        ("of the system", ItemKind::System),
    ] {
        let items = about.items.iter().filter(|item| item.kind == kind);
        list(page, title, items.map(|item| item.path));
    }
    list(page, "on `PATH`", about.programs.iter().copied());
    let variables = about.variables.iter().map(|variable| match variable {
        Variable::Passed(name) | Variable::Place(name, _) => *name,
    });
    list(page, "variables", variables);
}

fn list<'a>(page: &mut String, title: &str, words: impl Iterator<Item = &'a str>) {
    let words: Vec<String> = words.map(|word| format!("`{word}`")).collect();
    if !words.is_empty() {
        writeln!(page, "- {title}: {}", words.join(" ")).expect("a string");
    }
}
