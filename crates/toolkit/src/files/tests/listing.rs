//! The list of a folder's files.

use super::*;

fn listed(files: &[(&str, &str)]) -> (TempDir, Folder) {
    site(files, |options| options.listing = true)
}

/// The addresses of the entries, in order.
fn hrefs(page: &str) -> Vec<&str> {
    let body = page.split("<tbody>").nth(1).unwrap();
    body.split("href=\"")
        .skip(1)
        .map(|rest| rest.split('"').next().unwrap())
        .filter(|href| !href.starts_with('#'))
        .collect()
}

#[test]
fn a_folder_without_an_index_is_listed_if_it_should_be() {
    let (_folder, app) = listed(&[("b.txt", "22"), ("dir/a.txt", ""), (".hidden", ""), ("A.txt", "1")]);
    let response = get(&app, "/");
    assert_eq!((response.status, field(&response, "Content-Type").as_str()), (200, "text/html; charset=utf-8"));
    assert_eq!(hrefs(&text(&response)), ["dir/", "A.txt", "b.txt"]);
    assert_eq!(get(&app, "/dir").status, 308);
    assert_eq!(hrefs(&text(&get(&app, "/dir/"))), ["../", "a.txt"], "the parent, but never above the root");
    let (_folder, app) = site(&[("b.txt", ""), ("dir/a.txt", "")], |_| {});
    assert_eq!((get(&app, "/").status, get(&app, "/dir/").status, get(&app, "/dir").status), (404, 404, 404));
}

#[test]
fn entries_are_sorted_by_links_with_folders_first() {
    let (folder, app) = listed(&[("a", "333"), ("b", "1"), ("c", "22"), ("z/x", "")]);
    for (name, age) in [("a", 2), ("b", 3), ("c", 1)] {
        let time = SystemTime::now() - Duration::from_secs(age * 3600);
        File::options().write(true).open(folder.join(name)).unwrap().set_modified(time).unwrap();
    }
    for (query, expected) in [
        ("", "z/ a b c"),
        ("?sort=name&order=desc", "z/ c b a"),
        ("?sort=size", "z/ b c a"),
        ("?sort=size&order=desc", "z/ a c b"),
        ("?sort=date", "z/ b a c"),
        ("?sort=date&order=desc", "z/ c a b"),
        ("?sort=%00&order=%22", "z/ a b c"),
    ] {
        let found = hrefs(&text(&get(&app, &format!("/{query}")))).join(" ");
        let (folder, files) = found.split_once(' ').unwrap();
        assert_eq!(format!("z/ {files}"), expected, "{query}");
        let kept = if query.contains("%00") { "" } else { query };
        assert_eq!(folder, format!("z/{}", kept.replace('&', "&amp;")), "a folder keeps the order");
    }
    let page = text(&get(&app, "/?sort=size"));
    assert!(page.contains("aria-sort=\"ascending\"><a href=\"?sort=size&amp;order=desc\""), "{page}");
}

#[test]
#[cfg(unix)]
fn names_are_escaped_in_text_and_in_addresses() {
    let name = "<script>alert(1)</script>\"'&?#:%.txt".replace('/', "");
    let (_folder, app) = listed(&[(&name, ""), ("javascript:alert(1)", ""), ("dir</title>/a&b/c", "")]);
    let page = text(&get(&app, "/"));
    assert!(
        !page.contains("<script") && !page.contains("href=\"javascript:") && page.contains("&lt;script&gt;"),
        "{page}"
    );
    assert!(hrefs(&page).contains(&"javascript%3Aalert%281%29"));
    for href in hrefs(&page) {
        assert!(href.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"%-._~/".contains(&byte)), "{href}");
        assert!(matches!(get(&app, &format!("/{href}")).status, 200), "{href}");
    }
    let page = text(&get(&app, "/dir%3C%2ftitle%3E/"));
    assert!(!page.contains("</title>/"), "an encoded slash is refused: {page}");
    let page = text(&get(&app, "/dir%3C/title%3E/a&b/"));
    assert!(page.contains("<title>Index of /dir&lt;/title&gt;/a&amp;b</title>"), "{page}");
}

#[test]
fn the_page_allows_nothing_but_its_style() {
    let (_folder, app) = listed(&[("a.txt", "")]);
    let response = get(&app, "/");
    let policy = field(&response, "Content-Security-Policy");
    let nonce = policy.split("'nonce-").nth(1).unwrap().split('\'').next().unwrap();
    assert!(policy.starts_with("default-src 'none'; style-src 'nonce-") && nonce.len() == 32, "{policy}");
    let page = text(&response);
    assert!(page.contains(&format!("<style nonce=\"{nonce}\">")));
    assert!(!page.contains("style=") && !page.contains("<script") && !page.contains("://"), "{page}");
    assert_ne!(field(&get(&app, "/"), "Content-Security-Policy"), policy, "a nonce is used once");
    assert_eq!(field(&response, "Vary"), "Accept");
}

#[test]
fn programs_get_json() {
    let (_folder, app) = listed(&[("a \"b\".txt", "123"), ("dir/x", "")]);
    let response = get_with(&app, "/", &[("Accept", "application/json")]);
    assert_eq!(field(&response, "Content-Type"), "application/json");
    let json = text(&response);
    assert!(json.contains("{\"name\":\"dir\",\"type\":\"folder\",\"url\":\"dir/\",\"size\":0,"), "{json}");
    assert!(
        json.contains("{\"name\":\"a \\\"b\\\".txt\",\"type\":\"file\",\"url\":\"a%20%22b%22.txt\",\"size\":3,"),
        "{json}"
    );
    assert!(json.ends_with("\"complete\":true}\n"), "{json}");
    let browser = get_with(&app, "/", &[("Accept", "text/html,application/json")]);
    assert_eq!(field(&browser, "Content-Type"), "text/html; charset=utf-8");
}

#[test]
fn a_long_list_is_cut_and_says_so() {
    let (_folder, app) = site(&[("a", ""), ("b", ""), ("c", "")], |options| {
        options.listing = true;
        options.listing_limit = 2;
    });
    let page = text(&get(&app, "/"));
    assert!(hrefs(&page) == ["a", "b"] && page.matches("more entries than").count() == 2, "{page}");
    assert_eq!(hrefs(&text(&get(&app, "/?order=desc"))), ["c", "b"], "those that come first in this order");
    assert!(text(&get_with(&app, "/", &[("Accept", "application/json")])).contains("\"complete\":false"));
}

#[test]
fn numbers_in_names_are_sorted_by_their_values() {
    let (_folder, app) =
        listed(&[("file10", ""), ("File2", ""), ("file1", ""), ("file", ""), ("2026-9", ""), ("2026-11", "")]);
    assert_eq!(hrefs(&text(&get(&app, "/"))), ["2026-9", "2026-11", "file", "file1", "File2", "file10"]);
}

#[test]
fn head_of_a_listing_has_no_body() {
    let (_folder, app) = listed(&[("a", "")]);
    let response = send(&app, EnvironBuilder::new("/").method("HEAD"));
    assert_eq!((response.status, response.body.len()), (200, 0));
}
