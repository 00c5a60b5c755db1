# SPDX-License-Identifier: LGPL-2.1-or-later
# The table and the picture of figure4: medians over the rounds, and how they
# stand to those with nothing between.  -v how=table | draw
# Domains: 2 is blktapd in dom0, 3 in a domain of its own. With nothing between
# there are two; both are compared with that.

function refuse(why) {
    print "figure4: " FILENAME ":" FNR ": " why > "/dev/stderr"
    failed = 1
    exit 1
}

BEGIN {
    nm = split("direct passthrough interpose", mode, " ")
    nw = split("read write small", what, " ")
    unit["read"] = unit["write"] = "MB/s"
    unit["small"] = "µs"
    missed = "#b00020"
    title["read"] = "sequential read, MB/s"
    title["write"] = "sequential write, MB/s"
    title["small"] = "4 KiB write, µs until answered"
    label["direct"] = "nothing between"
    label["passthrough"] = "passthrough"
    label["interpose"] = "interpose (trace)"
    label[2] = "in dom0"
    label[3] = "own domain"
    colour["direct"] = "#6b7280"
    colour["passthrough"] = "#2563b0"
    colour["interpose"] = "#b45f06"
    # A ratio is wanted to be no worse than this.
    wanted["read", "passthrough"] = wanted["read", "interpose"] = 0.95
    wanted["write", "passthrough"] = wanted["write", "interpose"] = 0.95
    wanted["small", "passthrough"] = 1.6
    wanted["small", "interpose"] = 1.8
    about["icount memory"] = "memory, time is instructions executed"
    about["wall memory"] = "memory, the host's clock"
    about["wall disk"] = "a disk of 30 MB/s and 1 ms, the host's clock"
    for (i = 1; i <= nm; i++)
        for (j = 1; j <= nw; j++)
            known[mode[i], what[j]] = 1
    last = 3
}

/^#/ { next }
NF != 7 { refuse("expected CLOCK MEDIUM DOMAINS ROUND MODE WHAT FIGURE") }
!(($5, $6) in known) { refuse("expected a mode and what, found " $5 " " $6) }
$3 != 2 && ($3 != last || $5 == "direct") {
    refuse("expected 2 or " last " domains, 2 when direct, found " $3)
}
$7 !~ /^[0-9.]+$/ || $7 + 0 <= 0 { refuse("expected a figure, found " $7) }
{
    set = $1 " " $2
    if (!(set in seen)) {
        seen[set] = 1
        sets[++ns] = set
    }
    if ($5 != "direct")
        has[set, $3] = 1
    list[set, $3, $5, $6] = list[set, $3, $5, $6] " " $7
}

function median(words, n, i, j, t, v) {
    n = split(words, v, " ")
    for (i = 1; i <= n; i++)
        for (j = i + 1; j <= n; j++)
            if (v[j] + 0 < v[i] + 0) {
                t = v[i]
                v[i] = v[j]
                v[j] = t
            }
    return n % 2 ? v[(n + 1) / 2] + 0 : (v[n / 2] + v[n / 2 + 1]) / 2
}

function ratio(set, n, m, w) {
    return figure[set, n, m, w] / figure[set, 2, "direct", w]
}

function reached(set, n, m, w) {
    return w == "small" ? ratio(set, n, m, w) <= wanted[w, m] \
                        : ratio(set, n, m, w) >= wanted[w, m]
}

function text(x, y, size, anchor, words, ink) {
    printf "<text x=\"%.1f\" y=\"%.1f\" font-size=\"%d\" text-anchor=\"%s\" " \
        "fill=\"%s\">%s</text>\n", x, y, size, anchor, ink ? ink : "#222", words
}

function bar(set, n, m, w, x, base, h) {
    h = scale * ratio(set, n, m, w)
    printf "<rect class=\"%s\" x=\"%.1f\" y=\"%.1f\" width=\"36\" " \
        "height=\"%.1f\" fill=\"%s\"/>\n", m, x, base - h, h, colour[m]
    text(x + 18, base - 6, 11, "middle", short(figure[set, n, m, w]), "#fff")
    if (m == "direct")
        return
    text(x + 18, base + 14, 11, "middle", sprintf("× %.2f", \
        ratio(set, n, m, w)), reached(set, n, m, w) ? "" : missed)
    h = scale * wanted[w, m]
    printf "<path d=\"M%.1f %.1fh40\" stroke=\"#222\" " \
        "stroke-dasharray=\"3 2\"/>\n", x - 2, base - h
}

# The highest bar of a panel has its title above it.
function fitting(set, w, i, n, most) {
    for (n = 2; n <= last; n++)
        for (i = 2; has[set, n] && i <= nm; i++)
            if (ratio(set, n, mode[i], w) > most)
                most = ratio(set, n, mode[i], w)
    return most > 1.8 ? 126 / most : 70
}

function short(v) {
    return v < 10 ? sprintf("%.1f", v) : sprintf("%.0f", v)
}

function panel(set, w, x, base, n, i) {
    text(x, base - 148, 11, "start", title[w])
    printf "<path d=\"M%d %dh218\" stroke=\"#222\"/>\n", x, base
    scale = fitting(set, w)
    bar(set, 2, "direct", w, x + 4, base)
    for (n = 2; n <= last; n++) {
        if (!has[set, n])
            continue
        for (i = 2; i <= nm; i++)
            bar(set, n, mode[i], w, x + 50 + 88 * (n - 2) + 40 * (i - 2), base)
        text(x + 88 + 88 * (n - 2), base + 29, 11, "middle", label[n], "#555")
    }
}

function draw(s, i, j, x, base) {
    printf "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"760\" " \
        "height=\"%d\" font-family=\"sans-serif\">\n", 60 + 230 * ns
    print "<title>A guest on xen-blkback, alone and with blktapd between, " \
        "in dom0 or in a domain of its own</title>"
    print "<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>"
    for (i = 1; i <= nm; i++) {
        x = 20 + 140 * (i - 1)
        printf "<rect x=\"%d\" y=\"14\" width=\"14\" height=\"14\" " \
            "fill=\"%s\"/>\n", x, colour[mode[i]]
        text(x + 20, 26, 12, "start", label[mode[i]])
    }
    print "<path d=\"M450 21h24\" stroke=\"#222\" stroke-dasharray=\"3 2\"/>"
    text(480, 26, 12, "start", "wanted, at least (µs: at most)")
    text(670, 26, 12, "start", "missed", missed)
    for (s = 1; s <= ns; s++) {
        base = 230 + 230 * (s - 1)
        text(20, base - 168, 13, "start", about[sets[s]] ? about[sets[s]] : sets[s])
        for (j = 1; j <= nw; j++)
            panel(sets[s], what[j], 20 + 245 * (j - 1), base)
    }
    print "</svg>"
}

function row(set, n, w, word, i, m) {
    split(set, word, " ")
    printf "| %s, %s | %d | %s, %s |", word[2], word[1], n, w, unit[w]
    for (i = 1; i <= nm; i++)
        printf " %.1f |", figure[set, i == 1 ? 2 : n, mode[i], w]
    for (i = 2; i <= nm; i++) {
        m = mode[i]
        printf " %.2f, %s |", ratio(set, n, m, w),
            reached(set, n, m, w) ? "met" : "**missed**"
    }
    printf w == "small" ? " ≤ %.2f, %.2f |\n" : " ≥ %.2f, %.2f |\n",
        wanted[w, "passthrough"], wanted[w, "interpose"]
}

function table(s, n, j) {
    print "| medium, clock | domains | what | nothing between | passthrough " \
        "| interpose | ratio, passthrough | ratio, interpose | wanted |"
    print "|---|---|---|---|---|---|---|---|---|"
    for (s = 1; s <= ns; s++)
        for (n = 2; n <= last; n++)
            for (j = 1; has[sets[s], n] && j <= nw; j++)
                row(sets[s], n, what[j])
}

function middle(set, n, m, w) {
    if (list[set, n, m, w] == "")
        refuse("no figure of " set " " n " " m " " w)
    figure[set, n, m, w] = median(list[set, n, m, w])
}

# Whoever has a figure has all of them.
function medians(set, n, i, j) {
    for (j = 1; j <= nw; j++)
        middle(set, 2, "direct", what[j])
    if (!has[set, 2] && !has[set, last])
        refuse("no figure of " set " with blktapd between")
    for (n = 2; n <= last; n++)
        for (i = 2; has[set, n] && i <= nm; i++)
            for (j = 1; j <= nw; j++)
                middle(set, n, mode[i], what[j])
}

END {
    if (failed)
        exit 1
    if (!ns)
        refuse("no figures")
    for (s = 1; s <= ns; s++)
        medians(sets[s])
    if (how == "draw")
        draw()
    else
        table()
}
