//! Common mistakes, and the examples of the documentation, as a program that depends on `twistor` alone sees them.
//!
//! Each file in `mistakes/` contains one mistake. Its first lines quote the compiler's error and the explanation: a
//! note of the compiler, or an entry in the README that starts with the same error.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// A package that depends on `twistor` alone.
struct Package {
    folder: PathBuf,
}

impl Package {
    /// Writes the package. The keys of `sources` are paths inside `src`, without `.rs`.
    fn new(name: &str, sources: &BTreeMap<String, String>) -> Package {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(folder.join("src/bin")).unwrap();
        let manifest = format!(
            "[package]\nname = \"{name}\"\nversion = \"0.0.0\"\nedition = \"2024\"\n\n[workspace]\n\n\
             [dependencies]\ntwistor = {{ path = {ROOT:?}, features = [\"trace\", \"futures-io\"] }}\n"
        );
        fs::write(folder.join("Cargo.toml"), manifest).unwrap();
        // The dependencies of the workspace are already downloaded, so this works offline.
        fs::copy(Path::new(ROOT).join("Cargo.lock"), folder.join("Cargo.lock")).unwrap();
        for (path, text) in sources {
            fs::write(folder.join("src").join(path).with_extension("rs"), text).unwrap();
        }
        Package { folder }
    }

    /// Type-checks the package, with warnings as errors. Returns the compiler's messages, one string for each target.
    fn check(&self) -> BTreeMap<String, String> {
        let output = Command::new(env!("CARGO"))
            .args(["check", "--offline", "--quiet", "--keep-going", "--message-format", "json"])
            .arg("--config")
            .arg("build.rustflags = ['-Dwarnings']")
            .env_remove("RUSTFLAGS")
            // One folder for both packages, so that the dependencies are checked once.
            .env("CARGO_TARGET_DIR", Path::new(env!("CARGO_TARGET_TMPDIR")).join("checked"))
            .current_dir(&self.folder)
            .output()
            .unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        let mut messages = BTreeMap::<String, String>::new();
        for line in String::from_utf8(output.stdout).unwrap().lines() {
            let message: serde_json::Value = serde_json::from_str(line).unwrap();
            let program = message["target"]["name"].as_str().unwrap_or_default().to_owned();
            if let Some(text) = message["message"]["rendered"].as_str() {
                messages.entry(program).or_default().push_str(text);
            }
        }
        assert!(output.status.success() || !messages.is_empty(), "cargo check failed: {errors}");
        messages
    }
}

/// Reads the first line that starts with `//! key: `.
fn quoted<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    text.lines().find_map(|line| line.strip_prefix("//! ")?.strip_prefix(key)?.strip_prefix(": "))
}

/// Joins all lines, so that a quoted sentence is found across line breaks.
fn flat(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn each_common_mistake_is_explained() {
    let readme = flat(&fs::read_to_string(Path::new(ROOT).join("README.md")).unwrap());
    let programs: BTreeMap<String, String> = fs::read_dir(Path::new(ROOT).join("tests/mistakes"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| {
            let name = path.file_stem().unwrap().to_str().unwrap();
            (format!("bin/{name}"), fs::read_to_string(&path).unwrap())
        })
        .collect();
    assert!(programs.len() >= 15);
    let messages = Package::new("mistakes", &programs).check();
    let mut wrong = String::new();
    for (program, text) in &programs {
        let said = flat(messages.get(program.trim_start_matches("bin/")).map_or("", String::as_str));
        let error = quoted(text, "compiler").unwrap();
        if !said.contains(error) {
            writeln!(wrong, "{program}: the compiler does not say {error:?}, but: {said}").unwrap();
        }
        match (quoted(text, "note"), quoted(text, "readme")) {
            (Some(note), None) if said.contains(note) => {}
            (None, Some(entry)) if readme.contains(entry) => {}
            (note, entry) => {
                writeln!(
                    wrong,
                    "{program}: no note {note:?} or README entry {entry:?}; the compiler says: {said}"
                )
                .unwrap();
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

/// Collects the Rust code blocks of a Markdown text as modules, in which rustdoc's `main` is a public function.
fn examples(name: &str, markdown: &str, modules: &mut BTreeMap<String, String>) {
    let mut lines = markdown.lines().enumerate();
    while let Some((number, line)) = lines.next() {
        let Some(info) = line.trim_start().strip_prefix("```") else { continue };
        let code: Vec<&str> = lines
            .by_ref()
            .map(|(_, line)| line)
            .take_while(|line| !line.trim_start().starts_with("```"))
            .collect();
        let words: Vec<&str> = info.split(',').map(str::trim).filter(|word| !word.is_empty()).collect();
        let compiles = words.iter().all(|word| matches!(*word, "rust" | "no_run" | "should_panic"));
        if !compiles {
            continue;
        }
        let code: String = code
            .iter()
            .map(|line| match line.trim_start() {
                "#" => "\n".to_owned(),
                hidden if hidden.starts_with("# ") => format!("{}\n", &hidden[2..]),
                _ => format!("{line}\n"),
            })
            .collect();
        let module = match (code.contains("fn main()"), code.contains("\nOk::<")) {
            (true, _) => code.replace("fn main()", "pub fn main()"),
            (false, false) => format!("pub fn main() {{\n{code}}}\n"),
            (false, true) => format!("pub fn main() -> Result<(), impl core::fmt::Debug> {{\n{code}}}\n"),
        };
        let name = name.replace(|c: char| !c.is_alphanumeric(), "_").to_lowercase();
        modules.insert(format!("{name}_{}", number + 1), module);
    }
}

/// The doc comments of a source file as Markdown; other lines are empty, so that line numbers stay.
fn doc_comments(source: &str) -> String {
    source
        .lines()
        .map(|line| {
            let line = line.trim_start();
            let doc = line.strip_prefix("//!").or_else(|| line.strip_prefix("///"));
            // A code block that only one feature compiles. The package below has all features.
            let fence =
                line.strip_prefix("#![cfg_attr(feature = ").and_then(|rest| rest.split_once("doc = \""));
            let doc = doc.or_else(|| fence?.1.strip_suffix("\")]")).unwrap_or_default();
            format!("{}\n", doc.strip_prefix(' ').unwrap_or(doc))
        })
        .collect()
}

/// The README and all sources of the facade and of the crates whose examples import from it.
fn documented_files() -> Vec<String> {
    const CRATES: [&str; 4] = ["deferred", "reactor", "net", "http"];
    let mut files = vec!["README.md".to_owned()];
    let mut folders = vec!["src".to_owned()];
    for name in CRATES {
        files.push(format!("{name}/README.md"));
        folders.push(format!("{name}/src"));
    }
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(Path::new(ROOT).join(&folder)).unwrap() {
            let entry = entry.unwrap();
            let path = format!("{folder}/{}", entry.file_name().to_str().unwrap());
            if entry.file_type().unwrap().is_dir() {
                folders.push(path);
            } else if path.ends_with(".rs") {
                files.push(path);
            }
        }
    }
    files.sort();
    files
}

#[test]
fn examples_paste_into_a_program_that_depends_on_twistor_alone() {
    // Modules of one library: a program for each example would take a compiler run each.
    let mut modules = BTreeMap::new();
    for file in documented_files() {
        let text = fs::read_to_string(Path::new(ROOT).join(&file)).unwrap();
        let markdown = if file.ends_with(".rs") { doc_comments(&text) } else { text };
        examples(&file, &markdown, &mut modules);
    }
    assert!(modules.len() >= 30, "{:?}", modules.keys());
    let root = modules
        .keys()
        .map(|module| {
            // Examples of protocols and handlers define an item for the reader's program, and do not use it.
            let defines = module.starts_with("net_") || module.starts_with("http_");
            format!("{}pub mod {module};\n", if defines { "#[allow(dead_code)] " } else { "" })
        })
        .collect();
    modules.insert("lib".to_owned(), root);
    let messages = Package::new("pasted", &modules).check();
    assert!(messages.is_empty(), "{}", messages.into_values().collect::<String>());
}
