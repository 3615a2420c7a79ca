//! Licenses, sources, bans and duplicates of the dependencies, checked offline by the rules of deny.toml.
//!
//! `cargo deny check` reads the same file. Advisories need a database from the network: see the
//! task `advisories`.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result, ensure};
use spdx::{Expression, Licensee, ParseMode};
use toml::{Table, Value};
use xshell::{Shell, cmd};

/// One crate of the build, with its license expression.
struct Package {
    name: String,
    version: String,
    license: String,
}

pub(crate) fn run(shell: &Shell) -> Result<()> {
    let rules: Table = toml::from_str(&shell.read_file("deny.toml")?).context("deny.toml")?;
    let lock: Table = toml::from_str(&shell.read_file("Cargo.lock")?).context("Cargo.lock")?;
    let packages = packages(shell)?;

    let mut problems = licenses(&packages, &texts(&rules, "licenses", "allow", None)?)?;
    problems.extend(banned(&packages, &texts(&rules, "bans", "deny", Some("crate"))?));
    problems.extend(duplicates(&packages, &texts(&rules, "bans", "skip", Some("crate"))?));
    problems.extend(foreign(&lock, &texts(&rules, "sources", "allow-registry", None)?));
    ensure!(problems.is_empty(), "{} problems\n{}", problems.len(), problems.join("\n"));
    Ok(())
}

/// Every crate that is built for this machine, tests and build scripts included.
fn packages(shell: &Shell) -> Result<Vec<Package>> {
    let format = "{p}|{l}";
    let tree = cmd!(shell, "cargo tree --workspace --locked --prefix none --format {format}");
    let text = tree.quiet().read()?;
    // Each place in the tree is a line `name v1.2.3 (perhaps a path)|license`. A line that repeats an
    // earlier one ends in a mark.
    let lines: BTreeSet<&str> = text.lines().map(|line| line.trim_end_matches(" (*)")).collect();
    let packages = lines.into_iter().filter(|line| !line.is_empty()).map(|line| {
        let (package, license) = line.rsplit_once('|').context("no license column")?;
        let mut words = package.split(' ');
        let name = words.next().context("no name")?.to_owned();
        let version = words.next().and_then(|word| word.strip_prefix('v')).context("no version")?;
        Ok(Package { name, version: version.to_owned(), license: license.to_owned() })
    });
    packages.collect::<Result<_>>().context("reading the output of cargo tree")
}

/// The strings of the list `section.key`, or the string `field` of each of its tables.
fn texts(rules: &Table, section: &str, key: &str, field: Option<&str>) -> Result<Vec<String>> {
    let list = rules.get(section).and_then(|section| section.get(key)).and_then(Value::as_array);
    let list = list.with_context(|| format!("deny.toml has no list {section}.{key}"))?;
    let texts = list.iter().map(|item| {
        let item = field.map_or(Some(item), |field| item.get(field));
        item.and_then(Value::as_str).map(str::to_owned)
    });
    let texts: Option<_> = texts.collect();
    texts.with_context(|| format!("deny.toml: an item of {section}.{key} is no text"))
}

fn licenses(packages: &[Package], allowed: &[String]) -> Result<Vec<String>> {
    let allowed: Vec<Licensee> = allowed
        .iter()
        .map(|text| Licensee::parse(text).with_context(|| format!("deny.toml: license {text}")))
        .collect::<Result<_>>()?;
    let mut problems = Vec::new();
    for Package { name, version, license } in packages {
        // Lax, since some crates still write `MIT/Apache-2.0`.
        match Expression::parse_mode(license, ParseMode::LAX) {
            Ok(terms) if terms.evaluate(|term| allowed.iter().any(|own| own.satisfies(term))) => {}
            Ok(_) => problems.push(format!("{name} {version}: license {license} isn't allowed")),
            Err(_) => problems.push(format!("{name} {version}: unreadable license {license:?}")),
        }
    }
    Ok(problems)
}

fn banned(packages: &[Package], names: &[String]) -> Vec<String> {
    let found = packages.iter().filter(|package| names.contains(&package.name));
    found.map(|package| format!("{} is banned", package.name)).collect()
}

/// Crates in more versions than one, unless all but one of them are in `skip` (`name@version`).
fn duplicates(packages: &[Package], skip: &[String]) -> Vec<String> {
    let mut skip: BTreeSet<&str> = skip.iter().map(String::as_str).collect();
    let mut versions: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for Package { name, version, .. } in packages {
        versions.entry(name).or_default().insert(version);
    }
    let mut problems = Vec::new();
    for (name, versions) in versions {
        let several = versions.len() > 1;
        let kept = versions.iter().filter(|version| !skip.remove(&*format!("{name}@{version}")));
        if kept.count() > 1 && several {
            problems.push(format!("{name} is built in several versions: {versions:?}"));
        }
    }
    problems
        .extend(skip.iter().map(|entry| format!("deny.toml: bans.skip {entry} is out of date")));
    problems
}

fn foreign(lock: &Table, registries: &[String]) -> Vec<String> {
    let packages = lock.get("package").and_then(Value::as_array).into_iter().flatten();
    let sources = packages.filter_map(|package| package.get("source").and_then(Value::as_str));
    let known = |source: &str| {
        source.strip_prefix("registry+").is_some_and(|url| registries.iter().any(|own| own == url))
    };
    let sources: BTreeSet<&str> = sources.filter(|source| !known(source)).collect();
    sources.into_iter().map(|source| format!("unknown source {source}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(name: &str, version: &str, license: &str) -> Package {
        Package { name: name.into(), version: version.into(), license: license.into() }
    }

    #[test]
    fn a_license_passes_if_one_of_its_alternatives_is_allowed() {
        let check = |license| {
            licenses(&[package("a", "1.0.0", license)], &["MIT".into(), "ISC".into()])
                .expect("the allowed licenses are readable")
                .len()
        };
        assert_eq!(check("MIT OR Apache-2.0"), 0);
        assert_eq!(check("MIT/Apache-2.0"), 0);
        assert_eq!(check("MIT AND ISC"), 0);
        assert_eq!(check("MIT AND Apache-2.0"), 1);
        assert_eq!(check(""), 1);
    }

    #[test]
    fn a_second_version_needs_an_entry_and_an_entry_needs_a_second_version() {
        let two = [package("a", "1.0.0", "MIT"), package("a", "2.0.0", "MIT")];
        assert_eq!(duplicates(&two, &[]).len(), 1);
        assert_eq!(duplicates(&two, &["a@1.0.0".into()]), [""; 0]);
        assert_eq!(duplicates(&two, &["a@1.0.0".into(), "b@1.0.0".into()]).len(), 1);
    }

    #[test]
    fn only_the_named_registries_are_sources() {
        let lock: Table = toml::from_str(
            "[[package]]\nname = 'own'\n[[package]]\nname = 'a'\nsource = 'registry+https://here'\n\
             [[package]]\nname = 'b'\nsource = 'git+https://there'\n",
        )
        .expect("this is TOML");
        let problems = foreign(&lock, &["https://here".into()]);
        assert_eq!(problems, ["unknown source git+https://there"]);
    }
}
