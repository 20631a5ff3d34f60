//! The listing of a folder as a page: HTML without scripts, and without anything from elsewhere.

use html_escape::{encode_double_quoted_attribute as escape, encode_text};

use super::entries::{Entry, Listing, Order, SortKey};
use super::time::iso_8601;

/// The style of the page.
const STYLE: &str = include_str!("listing.css");

/// The pictures that the rows refer to: a folder, a file, and an arrow upwards.
const ICONS: &str = concat!(
    "<svg hidden><symbol id=d viewBox='0 0 16 16'><path d='M1.5 4.5v7A1.5 1.5 0 0 0 3 13h10a1.5 1.5 0 0 0 ",
    "1.5-1.5v-5A1.5 1.5 0 0 0 13 5H8L6.5 3H3a1.5 1.5 0 0 0-1.5 1.5z'/></symbol>",
    "<symbol id=f viewBox='0 0 16 16'><path d='M9 1.5H4.5A1.5 1.5 0 0 0 3 3v10a1.5 1.5 0 0 0 1.5 1.5h7A1.5 ",
    "1.5 0 0 0 13 13V5.5zm0 0v4h4'/></symbol>",
    "<symbol id=u viewBox='0 0 16 16'><path d='M8 13.5v-11M3.5 7 8 2.5 12.5 7'/></symbol></svg>",
);

/// The notice on a page that does not show all entries.
const CUT: &str = "This folder has more entries than are listed here.";

/// What the page shows.
pub(super) struct Page<'a> {
    pub listing: &'a Listing,
    /// The address of the folder that is served, with a slash at its end.
    pub root: &'a [u8],
    /// The path below it.
    pub path: &'a [u8],
    pub order: Order,
    /// The nonce of the style, for the Content-Security-Policy.
    pub nonce: &'a str,
}

/// Writes the page.
pub(super) fn render(page: &Page<'_>) -> String {
    let mut html = String::with_capacity(8 * 1024 + 400 * page.listing.entries.len());
    let title = String::from_utf8_lossy(&[page.root, page.path].concat()).into_owned();
    html.push_str(&format!(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" \
         content=\"width=device-width, initial-scale=1\">\n<title>Index of {}</title>\n<style nonce=\"{}\">{STYLE}</style>\n\
         {ICONS}\n<main>\n{}<table>\n<thead><tr>{}</tr></thead>\n<tbody>\n",
        encode_text(&title),
        page.nonce,
        breadcrumbs(page),
        headings(page.order),
    ));
    let query = escape(&page.order.query()).into_owned();
    if page.listing.is_cut {
        html.push_str(&format!("<tr><td colspan=\"3\"><strong>{CUT}</strong></td></tr>\n"));
    }
    if !page.path.is_empty() {
        html.push_str(&format!(
            "<tr><td colspan=\"3\"><a href=\"../{query}\"><svg><use href=\"#u\"/></svg><span>Parent folder</span></a></td></tr>\n"
        ));
    }
    for entry in &page.listing.entries {
        html.push_str(&row(entry, &query));
    }
    html.push_str(&format!("</tbody>\n</table>\n<footer>{}</footer>\n</main>\n</html>\n", summary(page.listing)));
    html
}

/// The path as links to each folder on the way.
fn breadcrumbs(page: &Page<'_>) -> String {
    let names: Vec<_> = page.path.split(|&byte| byte == b'/').filter(|name| !name.is_empty()).collect();
    let root = String::from_utf8_lossy(page.root);
    let mut html = String::from("<nav aria-label=\"Path\"><h1><small>Index of</small> ");
    html.push_str(&crumb(&root, names.len()));
    for (index, name) in names.iter().enumerate() {
        html.push_str(&crumb(&format!("{}/", String::from_utf8_lossy(name)), names.len() - 1 - index));
    }
    html.push_str("</h1></nav>\n");
    html
}

/// A link to the folder that is this number of levels up. The folder of the page is not a link.
fn crumb(label: &str, levels_up: usize) -> String {
    let label = visible(label);
    let label = encode_text(&label);
    match levels_up {
        0 => format!("<span aria-current=\"page\">{label}</span>"),
        levels => format!("<a href=\"{}\">{label}</a>", "../".repeat(levels)),
    }
}

/// The headings of the columns. Each is a link that sorts by its column, and turns the order around the second time.
fn headings(order: Order) -> String {
    let columns = [
        (SortKey::Name, "name", "Name"),
        (SortKey::Size, "size", "Size"),
        (SortKey::Modified, "date", "Changed (UTC)"),
    ];
    let heading = |(key, name, label): (SortKey, &str, &str)| {
        let (state, next) = match (order.key == key, order.descending) {
            (true, false) => (" aria-sort=\"ascending\"", "&amp;order=desc"),
            (true, true) => (" aria-sort=\"descending\"", ""),
            (false, _) => ("", ""),
        };
        format!("<th scope=\"col\"{state}><a href=\"?sort={name}{next}\">{label}</a></th>")
    };
    columns.map(heading).concat()
}

/// A name as it is shown: characters that would change the direction or the place of others are escaped, since
/// `exe.jpg` may be the end of a name that is not one of a picture.
fn visible(name: &str) -> String {
    let is_odd = |char: char| {
        char.is_control()
            || matches!(char, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    let shown =
        name.chars().map(|char| if is_odd(char) { char.escape_unicode().to_string() } else { char.to_string() });
    shown.collect()
}

/// `query`: the order of the page, which folders keep.
fn row(entry: &Entry, query: &str) -> String {
    let name = visible(&String::from_utf8_lossy(&entry.name));
    let query = if entry.is_folder { query } else { "" };
    let (icon, slash, size) = match entry.is_folder {
        true => ("d", "/", "<td></td>".to_owned()),
        false => ("f", "", format!("<td title=\"{} bytes\">{}</td>", grouped(entry.size), human_size(entry.size))),
    };
    let changed = entry.modified.map_or_else(String::new, |time| {
        let iso = iso_8601(time);
        format!("<time datetime=\"{iso}\" title=\"{iso}\">{} {}</time>", &iso[..10], &iso[11..16])
    });
    format!(
        "<tr class=\"{icon}\"><td><a href=\"{}{query}\"><svg><use href=\"#{icon}\"/></svg><span>{}{slash}</span></a></td>{size}\
         <td>{changed}</td></tr>\n",
        escape(&entry.href()),
        encode_text(&name),
    )
}

fn summary(listing: &Listing) -> String {
    if listing.is_cut {
        return format!("{} entries are shown. {CUT}", grouped(listing.entries.len() as u64));
    }
    let folders = listing.entries.iter().filter(|entry| entry.is_folder).count();
    let files = listing.entries.len() - folders;
    // Sparse files can have any size.
    let total = listing.entries.iter().fold(0_u64, |total, entry| total.saturating_add(entry.size));
    let count =
        |number: usize, one: &str| format!("{} {one}{}", grouped(number as u64), if number == 1 { "" } else { "s" });
    match (folders, files) {
        (0, 0) => "This folder is empty.".to_owned(),
        (_, 0) => count(folders, "folder"),
        (0, _) => format!("{}, {}", count(files, "file"), human_size(total)),
        _ => format!("{}, {}, {}", count(folders, "folder"), count(files, "file"), human_size(total)),
    }
}

/// A size with a binary unit and two or three significant digits.
pub(super) fn human_size(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let (mut size, mut unit) = (bytes as f64 / 1024.0, 0);
    // 1023.5 would be rounded to 1024.
    while size >= 1023.5 && unit + 1 < UNITS.len() {
        (size, unit) = (size / 1024.0, unit + 1);
    }
    let decimals = usize::from(size < 99.95);
    format!("{size:.decimals$} {}", UNITS[unit])
}

/// A number with a comma between each three digits.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_total_of_sparse_files_does_not_overflow() {
        let entry = |_| Entry { name: b"a".to_vec(), is_folder: false, size: i64::MAX as u64, modified: None };
        let listing = Listing { entries: (0..3).map(entry).collect(), is_cut: false };
        assert_eq!(summary(&listing), "3 files, 16.0 EiB");
    }

    #[test]
    fn names_can_not_pretend_to_be_others() {
        assert_eq!(visible("\u{202e}gpj.exe"), "\\u{202e}gpj.exe");
        assert_eq!(visible("naïve 日本.txt"), "naïve 日本.txt");
    }

    #[test]
    fn sizes_are_short_for_people_and_exact_beside() {
        for (bytes, expected) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (1536, "1.5 KiB"),
            (102_348, "99.9 KiB"),
            (102_400, "100 KiB"),
            (1_048_063, "1023 KiB"),
            (1_048_575, "1.0 MiB"),
            (5 << 30, "5.0 GiB"),
            (u64::MAX, "16.0 EiB"),
        ] {
            assert_eq!(human_size(bytes), expected, "{bytes}");
        }
        for (number, expected) in [(0, "0"), (999, "999"), (1000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(grouped(number), expected);
        }
    }
}
