//! What `amboss .` serves: looks into the current directory, as `flask run` and `cargo run` do.

use std::fs;
use std::io;
use std::path::Path;

/// What was found in a directory.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) serves: Serves,
    /// What was chosen, and why.
    pub(super) reason: String,
}

/// What to serve.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Serves {
    /// A Python application, by its name.
    Python(String),
    /// The program of a cargo project, with the reloader.
    #[cfg(all(unix, feature = "reload"))]
    Program(String),
    /// The directory itself.
    Folder,
    /// The built-in application.
    Nothing,
}

/// Files and directories of a project. A folder with one of them, or with a program in Python, is not served as files,
/// which would publish the sources and the history of the project.
const PROJECT: [&str; 12] = [
    ".git",
    ".hg",
    ".svn",
    "pyproject.toml",
    "setup.py",
    "setup.cfg",
    "requirements.txt",
    "Pipfile",
    "Cargo.toml",
    "package.json",
    "composer.json",
    "Gemfile",
];

/// Looks for something to serve in a directory.
///
/// # Errors
/// A message: there is a project, but it does not say what to serve.
pub(super) fn find(directory: &Path) -> Result<Found, String> {
    let found = |serves, reason: String| Ok(Found { serves, reason });
    if directory.join("manage.py").is_file() {
        let name = django(directory)?;
        return found(Serves::Python(name.clone()), format!("manage.py is that of a Django project; serving {name}"));
    }
    for file in ["wsgi.py", "app.py"] {
        let text = match fs::read(directory.join(file)) {
            Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(format!("can't read {file}: {error}")),
        };
        let name = application_in(&text).map_or_else(|| file.to_owned(), |name| format!("{file}:{name}"));
        return found(Serves::Python(name.clone()), format!("{file} is there; serving {name}"));
    }
    if let Some(package) = package_with_factory(directory)? {
        let name = format!("{package}:create_app()");
        return found(Serves::Python(name.clone()), format!("{package} has a create_app; serving {name}"));
    }
    #[cfg(all(unix, feature = "reload"))]
    if directory.join("Cargo.toml").is_file() {
        if let Some(program) = super::cargo_bin::find(directory)? {
            let reason = format!("Cargo.toml has a program; building and serving {program} with --reload");
            return found(Serves::Program(program), reason);
        }
    }
    let Some(part) = part_of_project(directory) else {
        if directory.join("index.html").is_file() {
            return found(Serves::Folder, "index.html is there; serving this folder".into());
        }
        return found(Serves::Nothing, "found no application and no index.html; serving the test application".into());
    };
    let reason = format!(
        "found no application, and a folder with {part} is not served as files; serving the test application (amboss ./ \
         serves the files)"
    );
    found(Serves::Nothing, reason)
}

/// Returns the name of the application of a Django project: what its settings say, or the `wsgi` beside them.
fn django(directory: &Path) -> Result<String, String> {
    let read = |path: &Path| fs::read_to_string(path).unwrap_or_default();
    let settings = quoted_after(&read(&directory.join("manage.py")), "DJANGO_SETTINGS_MODULE");
    let Some(settings) = settings else {
        return Err("manage.py names no DJANGO_SETTINGS_MODULE; name the application, as in amboss shop.wsgi".into());
    };
    let path = directory.join(settings.replace('.', "/"));
    let texts = [read(&path.with_extension("py")), read(&path.join("__init__.py"))];
    let named = texts.iter().find_map(|text| quoted_after(text, "WSGI_APPLICATION"));
    if let Some((module, object)) = named.as_deref().and_then(|name| name.rsplit_once('.')) {
        return Ok(format!("{module}:{object}"));
    }
    let packages = settings.rsplit_once('.').map_or("", |(package, _)| package).to_owned();
    let has_wsgi = |package: &str| directory.join(package.replace('.', "/")).join("wsgi.py").is_file();
    let above = packages.split('.').next().unwrap_or_default();
    let package = [packages.as_str(), above].into_iter().find(|package| !package.is_empty() && has_wsgi(package));
    package.map(|package| format!("{package}.wsgi:application")).ok_or_else(|| {
        format!(
            "the settings {settings} of manage.py have no WSGI_APPLICATION; name the application, as in amboss shop.wsgi"
        )
    })
}

/// Returns the first text in quotes that follows a name and a quote, a comma or an equals sign.
fn quoted_after(text: &str, name: &str) -> Option<String> {
    let lines = text.lines().map(|line| line.split('#').next().unwrap_or_default());
    let rest = lines.filter_map(|line| line.split_once(name)).map(|(_, rest)| rest);
    let rest = rest.map(|rest| rest.trim_start_matches(['"', '\'', ',', ' ', '=', ']', ':']));
    let value = |rest: &str| rest.split(['"', '\'', ')']).next().map(str::trim).unwrap_or_default().to_owned();
    let is_name = |name: &String| {
        !name.is_empty() && name.chars().all(|character| character.is_alphanumeric() || "._".contains(character))
    };
    rest.map(value).find(is_name)
}

/// Returns what to call or to name in a module; `None` if that is `app` or `application`, which is found anyway. The
/// rules are those of Flask, as far as they need no import.
fn application_in(text: &str) -> Option<&'static str> {
    let defines = |name: &str| {
        text.lines().any(|line| {
            let rest = line.strip_prefix("def ").unwrap_or(line).strip_prefix(name);
            rest.is_some_and(|rest| {
                rest.trim_start().starts_with(['=', '(', ':']) || rest.trim_start().starts_with(", ")
            }) || line.starts_with("from ") && line.ends_with(&format!(" import {name}"))
                || line.ends_with(&format!(" as {name}"))
        })
    };
    if defines("app") || defines("application") {
        return None;
    }
    [("create_app", "create_app()"), ("make_app", "make_app()")]
        .into_iter()
        .find(|(name, _)| defines(name))
        .map(|(_, call)| call)
}

/// Returns what makes a directory a project.
fn part_of_project(directory: &Path) -> Option<String> {
    if let Some(name) = PROJECT.iter().find(|name| directory.join(name).exists()) {
        return Some((*name).to_owned());
    }
    let names = fs::read_dir(directory).ok()?.flatten().filter_map(|entry| entry.file_name().into_string().ok());
    names.into_iter().find(|name| name.ends_with(".py"))
}

/// Returns the only package of a directory that defines `create_app`.
///
/// # Errors
/// A message: there are several.
fn package_with_factory(directory: &Path) -> Result<Option<String>, String> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let mut packages: Vec<String> = entries
        .filter(|entry| {
            let text = fs::read(entry.path().join("__init__.py")).unwrap_or_default();
            String::from_utf8_lossy(&text).lines().any(|line| line.starts_with("def create_app("))
        })
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect();
    packages.sort();
    match &packages[..] {
        [first, _, ..] => Err(format!(
            "the packages {} define create_app; name one, as in amboss '{first}:create_app()'",
            packages.join(", ")
        )),
        _ => Ok(packages.pop()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(files: &[(&str, &str)]) -> Result<Found, String> {
        let directory = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = directory.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        find(directory.path())
    }

    const MANAGE: &str =
        "import os\n# DJANGO_SETTINGS_MODULE in a comment\nos.environ.setdefault(\"DJANGO_SETTINGS_MODULE\", \
                          \"shop.settings\")\n";

    #[test]
    fn python_projects_are_recognised() {
        for (files, name) in [
            (&[("manage.py", MANAGE), ("shop/settings.py", "WSGI_APPLICATION = 'shop.web.app'")][..], "shop.web:app"),
            (&[("manage.py", MANAGE), ("shop/settings.py", ""), ("shop/wsgi.py", "")], "shop.wsgi:application"),
            (
                &[("manage.py", "os.environ['DJANGO_SETTINGS_MODULE'] = 'a.b.dev'"), ("a/wsgi.py", "")],
                "a.wsgi:application",
            ),
            (&[("app.py", "app = Flask(__name__)"), ("index.html", "")], "app.py"),
            (&[("app.py", "app = 1"), ("wsgi.py", "from shop import app as application")], "wsgi.py"),
            (&[("app.py", "def create_app(config=None):\n    app = 1\n")], "app.py:create_app()"),
            (&[("wsgi.py", "def make_app():\n")], "wsgi.py:make_app()"),
            (&[("app.py", "def app(environ, start_response):\n"), ("pyproject.toml", "")], "app.py"),
            (
                &[("shop/__init__.py", "import x\ndef create_app(x=1):\n"), ("tests/__init__.py", "")],
                "shop:create_app()",
            ),
        ] {
            assert_eq!(found(files).map(|found| found.serves), Ok(Serves::Python(name.into())), "{files:?}");
        }
        for (files, message) in [
            (&[("manage.py", "")][..], "manage.py names no DJANGO_SETTINGS_MODULE"),
            (&[("manage.py", MANAGE)], "the settings shop.settings of manage.py have no WSGI_APPLICATION"),
        ] {
            assert!(found(files).unwrap_err().starts_with(message), "{files:?}");
        }
    }

    #[test]
    fn a_folder_is_served_unless_it_is_a_project() {
        assert_eq!(found(&[("index.html", "")]).unwrap().serves, Serves::Folder);
        assert_eq!(found(&[("readme.txt", "")]).unwrap().serves, Serves::Nothing);
        for name in
            [".git/config", "pyproject.toml", ".hg/x", "package.json", "setup.py", "requirements.txt", "main.py"]
        {
            let found = found(&[("index.html", ""), (name, "")]).unwrap();
            assert_eq!(found.serves, Serves::Nothing);
            assert!(found.reason.contains("is not served as files"), "{}", found.reason);
        }
        let factories = [("one/__init__.py", "def create_app():\n"), ("two/__init__.py", "def create_app():\n")];
        let message = "the packages one, two define create_app; name one, as in amboss 'one:create_app()'";
        assert_eq!(found(&factories), Err(message.into()));
    }
}
