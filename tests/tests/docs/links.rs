//! Links between the pages lead to files that are there, and to headings in them.

use std::{collections::HashMap, fs, path::Path};

use belljar_tests::source_tree;

use crate::page::{self, lines, sections};

/// What a page links to, without what stands in code.
fn links(text: &str) -> Vec<String> {
    let prose: String = lines(text)
        .filter(|(_, fenced)| !fenced)
        .map(|(line, _)| format!("{line}\n"))
        .collect();
    let mut links = Vec::new();
    // Behind each `](`, which code in prose does not have here.
    for rest in prose.split("](").skip(1) {
        if let Some((target, _)) = rest.split_once(')') {
            links.push(target.trim().to_owned());
        }
    }
    links
}

/// The anchors of a page, as the usual renderers make them of headings: lower
/// case, without signs, `-` for blanks, and a number where there is one before.
fn anchors(text: &str) -> Vec<String> {
    let mut seen: HashMap<String, usize> = HashMap::new();
    let mut anchors = Vec::new();
    for section in sections(text) {
        let anchor: String = section
            .title
            .to_lowercase()
            .chars()
            .filter(|letter| letter.is_alphanumeric() || matches!(letter, ' ' | '-' | '_'))
            .map(|letter| if letter == ' ' { '-' } else { letter })
            .collect();
        let before = seen.entry(anchor.clone()).or_default();
        anchors.push(match *before {
            0 => anchor,
            before => format!("{anchor}-{before}"),
        });
        *before += 1;
    }
    anchors
}

/// What is wrong with a link of the page at `page`.
fn fault(page: &Path, link: &str) -> Option<String> {
    if link.starts_with("https://") || link.starts_with("http://") {
        return None;
    }
    let (file, anchor) = match link.split_once('#') {
        Some((file, anchor)) => (file, Some(anchor)),
        None => (link, None),
    };
    let target = match file {
        "" => page.to_owned(),
        file => page.parent()?.join(file),
    };
    if !target.exists() {
        return Some(format!("{}: no such file: {link}", page.display()));
    }
    // A link that leaves the tree works on one machine only.
    let real = target.canonicalize().ok()?;
    if !real.starts_with(source_tree().canonicalize().ok()?) {
        return Some(format!("{}: leads out of the tree: {link}", page.display()));
    }
    let anchor = anchor?;
    let text = fs::read_to_string(&target).unwrap_or_default();
    let there = anchors(&text).iter().any(|known| known == anchor);
    (!there).then(|| format!("{}: no such heading: {link}", page.display()))
}

#[test]
fn every_link_leads_to_a_file_and_a_heading_that_are_there() {
    let mut faults = Vec::new();
    let mut count = 0;
    for page in page::pages() {
        let text = fs::read_to_string(&page).expect("a page");
        for link in links(&text) {
            count += 1;
            faults.extend(fault(&page, &link));
        }
    }
    assert!(count > 50, "{count}");
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn every_page_is_in_the_index() {
    let index = page::read("docs/README.md");
    let links = links(&index);
    for page in page::pages() {
        let Ok(path) = page.strip_prefix(source_tree().join("docs")) else {
            continue;
        };
        let path = path.to_str().expect("a page's name is text");
        let listed = |link: &String| link == path || path.starts_with("adr/") && link == "adr";
        assert!(
            path == "README.md" || links.iter().any(listed),
            "docs/README.md has no link to {path}"
        );
    }
}

#[test]
fn headings_make_the_anchors_that_renderers_make() {
    let text =
        "# The `Usage::Path` of it\n## In 30 seconds\n## In 30 seconds\n```sh\n# none\n```\n";
    assert_eq!(
        anchors(text),
        ["the-usagepath-of-it", "in-30-seconds", "in-30-seconds-1"]
    );
}

#[test]
fn a_link_that_leads_nowhere_is_a_fault() {
    let page = source_tree().join("docs/README.md");
    assert_eq!(fault(&page, "contract.md#2-rules"), None);
    assert!(fault(&page, "no-such.md").is_some());
    assert!(fault(&page, "contract.md#no-such-heading").is_some());
    assert!(fault(&page, "../../../etc/hosts").is_some());
}
