//! Two texts, line by line: what goes and what comes, with a few lines around.

use std::fmt::Write as _;

/// So many lines that stay are shown around a change.
const AROUND: usize = 3;
/// So many lines are compared with one another; beyond, all between the first
/// change and the last goes and comes.
const COMPARED: usize = 2000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Edit<'a> {
    Stays(&'a str),
    Goes(&'a str),
    Comes(&'a str),
}

/// The difference, in the form of diff(1) -u; empty where there is none.
pub(super) fn diff(name: &str, before: &str, after: &str) -> String {
    let edits = edits(before, after);
    let changed: Vec<usize> = (0..edits.len())
        .filter(|at| !matches!(edits[*at], Edit::Stays(_)))
        .collect();
    if changed.is_empty() {
        return String::new();
    }
    let mut text = format!("--- {name}\n+++ {name}\n");
    let (mut old, mut new) = (1, 1);
    let mut at = 0;
    while at < edits.len() {
        let near = |at: usize| {
            changed
                .iter()
                .any(|changed| at + AROUND >= *changed && at <= *changed + AROUND)
        };
        let Some(first) = (at..edits.len()).find(|at| near(*at)) else {
            break;
        };
        // What lies between stays on both sides.
        (old, new) = (old + first - at, new + first - at);
        let end = (first..edits.len())
            .find(|at| !near(*at))
            .unwrap_or(edits.len());
        let hunk = &edits[first..end];
        let count = |skip: fn(&Edit<'_>) -> bool| hunk.iter().filter(|edit| !skip(edit)).count();
        let was = count(|edit| matches!(edit, Edit::Comes(_)));
        let is = count(|edit| matches!(edit, Edit::Goes(_)));
        let _ = writeln!(text, "@@ -{old},{was} +{new},{is} @@");
        for edit in hunk {
            let (sign, line) = match edit {
                Edit::Stays(line) => (' ', line),
                Edit::Goes(line) => ('-', line),
                Edit::Comes(line) => ('+', line),
            };
            let _ = writeln!(text, "{sign}{line}");
        }
        (old, new) = (old + was, new + is);
        at = end;
    }
    text
}

fn edits<'a>(before: &'a str, after: &'a str) -> Vec<Edit<'a>> {
    let old: Vec<&str> = before.lines().collect();
    let new: Vec<&str> = after.lines().collect();
    let first = old.iter().zip(&new).take_while(|(a, b)| a == b).count();
    let last = old[first..]
        .iter()
        .rev()
        .zip(new[first..].iter().rev())
        .take_while(|(a, b)| a == b)
        .count();
    let (old_middle, new_middle) = (&old[first..old.len() - last], &new[first..new.len() - last]);
    let mut edits: Vec<Edit<'a>> = old[..first].iter().map(|line| Edit::Stays(line)).collect();
    edits.extend(middle(old_middle, new_middle));
    edits.extend(old[old.len() - last..].iter().map(|line| Edit::Stays(line)));
    edits
}

/// By the longest common subsequence.
fn middle<'a>(old: &[&'a str], new: &[&'a str]) -> Vec<Edit<'a>> {
    if old.len() > COMPARED || new.len() > COMPARED {
        let gone = old.iter().map(|line| Edit::Goes(line));
        return gone
            .chain(new.iter().map(|line| Edit::Comes(line)))
            .collect();
    }
    let width = new.len() + 1;
    let mut common = vec![0_u16; (old.len() + 1) * width];
    for i in (0..old.len()).rev() {
        for j in (0..new.len()).rev() {
            common[i * width + j] = if old[i] == new[j] {
                common[(i + 1) * width + j + 1] + 1
            } else {
                common[(i + 1) * width + j].max(common[i * width + j + 1])
            };
        }
    }
    let (mut i, mut j) = (0, 0);
    let mut edits = Vec::new();
    while i < old.len() || j < new.len() {
        if i < old.len() && j < new.len() && old[i] == new[j] {
            edits.push(Edit::Stays(old[i]));
            (i, j) = (i + 1, j + 1);
        } else if j == new.len()
            || (i < old.len() && common[(i + 1) * width + j] >= common[i * width + j + 1])
        {
            edits.push(Edit::Goes(old[i]));
            i += 1;
        } else {
            edits.push(Edit::Comes(new[j]));
            j += 1;
        }
    }
    edits
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_changed_is_no_difference() {
        assert_eq!(diff("f", "a\nb\n", "a\nb\n"), "");
    }

    #[test]
    fn what_comes_and_goes_is_shown_with_what_is_around_it() {
        let lines = |range: std::ops::RangeInclusive<u32>| -> String {
            range.map(|number| format!("{number}\n")).collect()
        };
        let before = lines(1..=16);
        let after = format!("{}new\n{}last\n", lines(1..=5), lines(7..=16));
        assert_eq!(
            diff("f", &before, &after),
            "--- f\n+++ f\n@@ -3,7 +3,7 @@\n 3\n 4\n 5\n-6\n+new\n 7\n 8\n 9\n\
             @@ -14,3 +14,4 @@\n 14\n 15\n 16\n+last\n"
        );
        assert_eq!(diff("f", "", "a\n"), "--- f\n+++ f\n@@ -1,0 +1,1 @@\n+a\n");
    }
}
