//! What the sources can say to people: error enums with their messages, and
//! causes of what a machine cannot do. Read as Rust, so that a new variant is
//! found without being listed anywhere.

use std::{
    fs,
    path::{Path, PathBuf},
};

use belljar_tests::source_tree;
use syn::{
    Attribute, Expr, ExprCall, ExprMethodCall, ExprStruct, Fields, Item, ItemEnum, ItemMod,
    ItemStruct, Lit, LitStr, Macro, Member, Token,
    punctuated::Punctuated,
    visit::{self, Visit},
};

/// One thing that can be said.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Message {
    /// `Enum::Variant`, or the name of a struct.
    pub(crate) name: String,
    /// As it is written, with its placeholders; none where another error speaks.
    pub(crate) text: Option<String>,
}

impl Message {
    /// The parts of it that are always the same.
    pub(crate) fn parts(&self) -> Vec<String> {
        self.text.as_deref().map(parts).unwrap_or_default()
    }
}

/// What a format string has between its placeholders.
pub(crate) fn parts(format: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut depth = 0_usize;
    let doubled = format.replace("{{", "\u{1}").replace("}}", "\u{2}");
    for letter in doubled.chars() {
        match letter {
            '{' => depth += 1,
            '}' => {
                depth = depth.saturating_sub(1);
                parts.push(String::new());
            }
            _ if depth > 0 => {}
            letter => parts
                .last_mut()
                .expect("there is one from the start")
                .push(letter),
        }
    }
    parts
        .iter()
        .map(|part| part.replace('\u{1}', "{").replace('\u{2}', "}"))
        .map(|part| super::page::plain(&part))
        .filter(|part| part.chars().any(char::is_alphabetic))
        .collect()
}

/// What was found in the crates that users meet.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// Every variant of every enum that is an error, and every such struct.
    pub(crate) errors: Vec<Message>,
    /// First words of each call of `unavailable`: why a machine cannot do a thing.
    pub(crate) causes: Vec<String>,
    /// Reasons of refusals: each `reason` of one, and what is pushed to a list
    /// of what is invalid.
    pub(crate) reasons: Vec<String>,
    /// The file at hand is of the room where grants are decided: a `Refused` of
    /// others is no refusal of a launch.
    of_grants: bool,
}

/// Reads the sources below `crates`; tests in them are left out.
pub(crate) fn read() -> Found {
    let mut files = Vec::new();
    for part in fs::read_dir(source_tree().join("crates")).expect("crates") {
        find(&part.expect("a crate").path().join("src"), &mut files);
    }
    assert!(files.len() > 50, "{files:?}");
    let mut found = Found::default();
    for file in files {
        let text = fs::read_to_string(&file).expect("a source");
        let tree =
            syn::parse_file(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        found.of_grants = file.iter().any(|part| part == "effective");
        found.visit_file(&tree);
    }
    found.errors.sort();
    found.causes.sort();
    found.causes.dedup();
    found.reasons.sort();
    found.reasons.dedup();
    found
}

fn find(directory: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).expect("a directory of sources") {
        let path = entry.expect("an entry").path();
        let name = path.file_stem().unwrap_or_default();
        if path.is_dir() {
            find(&path, files);
        } else if path.extension().is_some_and(|ending| ending == "rs") && name != "tests" {
            files.push(path);
        }
    }
}

impl<'ast> Visit<'ast> for Found {
    fn visit_item_mod(&mut self, module: &'ast ItemMod) {
        if !is_test(&module.attrs) {
            visit::visit_item_mod(self, module);
        }
    }

    fn visit_item(&mut self, item: &'ast Item) {
        match item {
            Item::Enum(item) => self.error_enum(item),
            Item::Struct(item) => self.error_struct(item),
            _ => {}
        }
        visit::visit_item(self, item);
    }

    fn visit_expr_call(&mut self, call: &'ast ExprCall) {
        if let Expr::Path(path) = &*call.func
            && path.path.is_ident("unavailable")
            && let Some(text) = call.args.first().and_then(text_of)
        {
            self.causes.push(text);
        }
        visit::visit_expr_call(self, call);
    }

    fn visit_expr_struct(&mut self, made: &'ast ExprStruct) {
        let names: Vec<String> = made
            .path
            .segments
            .iter()
            .map(|segment| segment.ident.to_string())
            .collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let refuses = match names.as_slice() {
            ["Refusal", "Invalid"] | ["Unmet"] => true,
            ["Refused"] => self.of_grants,
            _ => false,
        };
        if refuses {
            for field in &made.fields {
                if matches!(&field.member, Member::Named(name) if name == "reason") {
                    self.reasons.extend(text_of(&field.expr));
                }
            }
        }
        visit::visit_expr_struct(self, made);
    }

    fn visit_expr_method_call(&mut self, call: &'ast ExprMethodCall) {
        if call.method == "push"
            && let Expr::Field(list) = &*call.receiver
            && matches!(&list.member, Member::Named(name) if name == "invalid")
        {
            self.reasons.extend(call.args.first().and_then(text_of));
        }
        visit::visit_expr_method_call(self, call);
    }
}

impl Found {
    fn error_enum(&mut self, item: &ItemEnum) {
        if !is_error(&item.attrs) {
            return;
        }
        for variant in &item.variants {
            self.errors.push(Message {
                name: format!("{}::{}", item.ident, variant.ident),
                text: message(&variant.attrs),
            });
        }
    }

    fn error_struct(&mut self, item: &ItemStruct) {
        if is_error(&item.attrs) && !matches!(item.fields, Fields::Unit) {
            self.errors.push(Message {
                name: item.ident.to_string(),
                text: message(&item.attrs),
            });
        }
    }
}

fn is_test(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("cfg")
            && attribute
                .parse_args::<syn::Path>()
                .is_ok_and(|path| path.is_ident("test"))
    })
}

/// It derives `thiserror::Error`.
fn is_error(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("derive")
            && attribute
                .parse_args_with(Punctuated::<syn::Path, Token![,]>::parse_terminated)
                .is_ok_and(|derived| {
                    derived
                        .iter()
                        .filter_map(|path| path.segments.last())
                        .any(|name| name.ident == "Error")
                })
    })
}

/// The text of `#[error("…", …)]`; none of `#[error(transparent)]`.
fn message(attributes: &[Attribute]) -> Option<String> {
    let error = attributes
        .iter()
        .find(|attribute| attribute.path().is_ident("error"))?;
    error
        .parse_args_with(|input: syn::parse::ParseStream<'_>| {
            let text = input.parse::<LitStr>()?;
            input.parse::<proc_macro2::TokenStream>()?;
            Ok(text.value())
        })
        .ok()
}

/// A literal, or that of a `format!`.
fn text_of(expression: &Expr) -> Option<String> {
    match expression {
        Expr::Lit(literal) => match &literal.lit {
            Lit::Str(text) => Some(text.value()),
            _ => None,
        },
        Expr::Macro(called) => first_literal(&called.mac),
        // `"…".to_owned()`
        Expr::MethodCall(call) => text_of(&call.receiver),
        _ => None,
    }
}

fn first_literal(called: &Macro) -> Option<String> {
    called
        .parse_body_with(|input: syn::parse::ParseStream<'_>| {
            let text = input.parse::<LitStr>()?;
            input.parse::<proc_macro2::TokenStream>()?;
            Ok(text.value())
        })
        .ok()
}

#[test]
fn a_format_s_parts_are_what_is_always_said() {
    assert_eq!(
        parts("{flag}: `{said}` is no {{table}}; {}, write {x:>3}"),
        ["` is no {table};", ", write"]
    );
}

#[test]
fn sources_are_understood() {
    let found = read();
    let named = |name: &str| found.errors.iter().find(|message| message.name == name);
    assert_eq!(
        named("PathError::Climbs").and_then(|message| message.text.as_deref()),
        Some("path `{0}` contains `..`; write the path that you mean")
    );
    assert_eq!(
        named("VerifyError::Manifest").map(|message| &message.text),
        Some(&None)
    );
    assert!(named("Usage::NothingToRun").is_some());
    // Those of tests are none.
    assert!(named("Outer").is_none());
    assert!(
        found
            .reasons
            .iter()
            .any(|reason| reason.contains("is a terminal of the machine"))
    );
    assert!(
        found
            .reasons
            .iter()
            .any(|reason| reason.contains("the policy denies it"))
    );
    assert!(
        found
            .causes
            .iter()
            .any(|cause| cause.contains("unprivileged_userns_clone is 0"))
    );
}
