//! Pages of files that a process may lose, since they come back as they were.

use std::ops::Range;

/// Tells the system that none of them is needed at the moment.
pub(crate) fn release() -> usize {
    let Ok(smaps) = std::fs::read_to_string("/proc/self/smaps") else { return 0 };
    let Ok(program) = std::fs::read_link("/proc/self/exe") else { return 0 };
    let mappings = unmodified(&smaps, &program.to_string_lossy());
    for Range { start, end } in mappings.clone() {
        discard(start, end - start);
    }
    mappings.iter().map(ExactSizeIterator::len).sum()
}

#[expect(
    unsafe_code,
    reason = "madvise has no safe wrapper, as it may change what memory holds; here it does not"
)]
fn discard(start: usize, bytes: usize) {
    // SAFETY: the mapping is private and of a file, cannot be written to, and no page of it differs from the file (`unmodified`). After MADV_DONTNEED each page is read from the file again: nobody sees another byte.
    // It is of the program itself or of a library that the standard library needs: they stay where they are until the process ends, so no other memory can have come to this place since the list was read.
    let _ =
        unsafe { libc::madvise(std::ptr::with_exposed_provenance_mut(start), bytes, libc::MADV_DONTNEED) };
}

/// What the standard library itself is linked with, by the beginnings of names.
const NEEDED: [&str; 4] = ["libc.so.", "libm.so.", "libgcc_s.so.", "ld-linux"];

/// The mappings of the program and of what it needs that cannot be written to, and of which no page was changed (as the loader changes pages before it protects them).
fn unmodified(smaps: &str, program: &str) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut candidate = None;
    for line in smaps.lines() {
        let mut words = line.split_ascii_whitespace();
        let Some(first) = words.next() else { continue };
        if first == "Anonymous:" {
            // proc_pid_smaps(5): what a private mapping has of its own.
            found.extend(candidate.take().filter(|_| words.next() == Some("0")));
        } else if let Some(range) = range(first) {
            candidate = Some(range).filter(|_| is_to_read(words) && is_of(line, program));
        }
    }
    found
}

fn range(text: &str) -> Option<Range<usize>> {
    let (start, end) = text.split_once('-')?;
    Some(usize::from_str_radix(start, 16).ok()?..usize::from_str_radix(end, 16).ok()?)
}

/// proc_pid_maps(5): `perms offset dev inode pathname`.
fn is_to_read<'a>(mut words: impl Iterator<Item = &'a str>) -> bool {
    let perms = words.next().unwrap_or_default();
    let inode = words.nth(2).unwrap_or("0");
    perms.starts_with("r-") && perms.ends_with('p') && inode != "0"
}

fn is_of(line: &str, program: &str) -> bool {
    let Some(path) = line.find('/').map(|start| &line[start..]) else { return false };
    let name = path.rsplit('/').next().unwrap_or_default();
    path == program || NEEDED.iter().any(|needed| name.starts_with(needed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_private_files_without_a_changed_page_may_be_lost() {
        let mapping = |head: &str, anonymous: u32| {
            format!(
                "{head}\nSize:    8 kB\nRss:     8 kB\nAnonymous:     {anonymous} kB\nVmFlags: rd ex mr mw me\n"
            )
        };
        let rows: [(&str, u32, Option<Range<usize>>); 12] = [
            ("1000-3000 r-xp 00001000 fe:00 5719012    /usr/bin/a", 0, Some(0x1000..0x3000)),
            ("1000-3000 r--p 00000000 fe:00 5719012    /usr/bin/a", 0, Some(0x1000..0x3000)),
            ("1000-3000 r-xp 00001000 fe:00 21    /lib/x86_64-linux-gnu/libc.so.6", 0, Some(0x1000..0x3000)),
            ("1000-3000 r-xp 00001000 fe:00 22    /usr/lib/libplugin.so", 0, None),
            ("1000-3000 r--p 00000000 fe:00 23    /usr/share/usr/bin/a", 0, None),
            ("1000-3000 r--p 00003000 fe:00 5719012    /usr/bin/a", 4, None),
            ("1000-3000 rw-p 00004000 fe:00 5719012    /usr/bin/a", 0, None),
            ("1000-3000 r--s 00000000 fe:00 5719012    /usr/share/a", 0, None),
            ("1000-3000 r-xp 00000000 00:00 0          [vdso]", 0, None),
            ("1000-3000 r--p 00000000 00:00 0", 0, None),
            ("1000-3000", 0, None),
            ("nonsense", 0, None),
        ];
        for (head, anonymous, expected) in &rows {
            assert_eq!(
                unmodified(&mapping(head, *anonymous), "/usr/bin/a"),
                Vec::from_iter(expected.clone()),
                "{head}"
            );
        }
        let both = mapping(rows[2].0, 4) + &mapping(rows[0].0, 0);
        assert_eq!(unmodified(&both, "/usr/bin/a"), Vec::from_iter(rows[0].2.clone()));
        assert_eq!(unmodified("Anonymous: 0 kB\n1000-3000 r-xp 0 fe:00 1 /a\n", "/a"), []);
    }

    #[test]
    fn a_program_goes_on_after_its_pages_were_given_back() {
        let words: Vec<String> = (0..100).map(|n| n.to_string()).collect();
        assert!(crate::release_unmodified_pages() > 0);
        assert_eq!(words.iter().map(|word| word.parse::<u32>()).sum::<Result<u32, _>>(), Ok(4950));
    }
}
