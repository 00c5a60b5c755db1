# SPDX-License-Identifier: LGPL-2.1-or-later
# The table and the picture of figure4: medians over the rounds, and how they
# stand to those with nothing between.  -v how=table | draw

function refuse(why) {
    print "figure4: " FILENAME ":" FNR ": " why > "/dev/stderr"
    failed = 1
    exit 1
}

BEGIN {
    nm = split("direct passthrough interpose", mode, " ")
    nw = split("read write small", what, " ")
    split("MB/s MB/s µs", unit, " ")
    title["read"] = "sequential read, MB/s"
    title["write"] = "sequential write, MB/s"
    title["small"] = "4 KiB write, µs until answered"
    label["direct"] = "nothing between"
    label["passthrough"] = "passthrough"
    label["interpose"] = "interpose (trace)"
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
}

/^#/ { next }
NF != 6 { refuse("expected CLOCK MEDIUM ROUND MODE WHAT FIGURE") }
!(($4, $5) in known) { refuse("expected a mode and what, found " $4 " " $5) }
$6 !~ /^[0-9.]+$/ || $6 + 0 <= 0 { refuse("expected a figure, found " $6) }
{
    set = $1 " " $2
    if (!(set in seen)) {
        seen[set] = 1
        sets[++ns] = set
    }
    list[set, $4, $5] = list[set, $4, $5] " " $6
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

function ratio(set, m, w) {
    return figure[set, m, w] / figure[set, "direct", w]
}

function reached(set, m, w) {
    return w == "small" ? ratio(set, m, w) <= wanted[w, m] \
                        : ratio(set, m, w) >= wanted[w, m]
}

function text(x, y, size, anchor, words, ink) {
    printf "<text x=\"%.1f\" y=\"%.1f\" font-size=\"%d\" text-anchor=\"%s\" " \
        "fill=\"%s\">%s</text>\n", x, y, size, anchor, ink ? ink : "#222", words
}

function bar(set, m, w, x, base, h) {
    h = scale * ratio(set, m, w)
    printf "<rect class=\"%s\" x=\"%.1f\" y=\"%.1f\" width=\"50\" " \
        "height=\"%.1f\" fill=\"%s\"/>\n", m, x, base - h, h, colour[m]
    text(x + 25, base - 6, 11, "middle", short(figure[set, m, w]), "#fff")
    if (m == "direct")
        return
    text(x + 25, base + 14, 11, "middle", sprintf("× %.2f", ratio(set, m, w)))
    h = scale * wanted[w, m]
    printf "<path d=\"M%.1f %.1fh56\" stroke=\"#222\" " \
        "stroke-dasharray=\"3 2\"/>\n", x - 3, base - h
}

# The highest bar of a panel has its title above it.
function fitting(set, w, i, most) {
    for (i = 1; i <= nm; i++)
        if (ratio(set, mode[i], w) > most)
            most = ratio(set, mode[i], w)
    return most > 1.8 ? 126 / most : 70
}

function short(v) {
    return v < 10 ? sprintf("%.1f", v) : sprintf("%.0f", v)
}

function draw(s, i, j, x, base) {
    printf "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"760\" " \
        "height=\"%d\" font-family=\"sans-serif\">\n", 60 + 220 * ns
    print "<title>A guest on xen-blkback, alone and with blktapd between</title>"
    print "<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>"
    for (i = 1; i <= nm; i++) {
        x = 20 + 170 * (i - 1)
        printf "<rect x=\"%d\" y=\"14\" width=\"14\" height=\"14\" " \
            "fill=\"%s\"/>\n", x, colour[mode[i]]
        text(x + 20, 26, 12, "start", label[mode[i]])
    }
    print "<path d=\"M530 21h24\" stroke=\"#222\" stroke-dasharray=\"3 2\"/>"
    text(560, 26, 12, "start", "wanted, at least (µs: at most)")
    for (s = 1; s <= ns; s++) {
        base = 230 + 220 * (s - 1)
        text(20, base - 168, 13, "start", about[sets[s]] ? about[sets[s]] : sets[s])
        for (j = 1; j <= nw; j++) {
            x = 20 + 245 * (j - 1)
            text(x, base - 148, 11, "start", title[what[j]])
            printf "<path d=\"M%d %dh215\" stroke=\"#222\"/>\n", x, base
            scale = fitting(sets[s], what[j])
            for (i = 1; i <= nm; i++)
                bar(sets[s], mode[i], what[j], x + 10 + 70 * (i - 1), base)
        }
    }
    print "</svg>"
}

function table(s, i, j, m, w) {
    print "| medium, clock | what | nothing between | passthrough | interpose " \
        "| ratio, passthrough | ratio, interpose | wanted |"
    print "|---|---|---|---|---|---|---|---|"
    for (s = 1; s <= ns; s++)
        for (j = 1; j <= nw; j++) {
            w = what[j]
            split(sets[s], word, " ")
            printf "| %s, %s | %s, %s |", word[2], word[1], w, unit[j]
            for (i = 1; i <= nm; i++)
                printf " %.1f |", figure[sets[s], mode[i], w]
            for (i = 2; i <= nm; i++)
                printf " %.2f%s |", ratio(sets[s], mode[i], w),
                    reached(sets[s], mode[i], w) ? "" : " (missed)"
            printf w == "small" ? " ≤ %.2f, %.2f |\n" : " ≥ %.2f, %.2f |\n",
                wanted[w, "passthrough"], wanted[w, "interpose"]
        }
}

END {
    if (failed)
        exit 1
    if (!ns)
        refuse("no figures")
    for (s = 1; s <= ns; s++)
        for (i = 1; i <= nm; i++)
            for (j = 1; j <= nw; j++) {
                if (list[sets[s], mode[i], what[j]] == "")
                    refuse("no figure of " sets[s] " " mode[i] " " what[j])
                figure[sets[s], mode[i], what[j]] = \
                    median(list[sets[s], mode[i], what[j]])
            }
    if (how == "draw")
        draw()
    else
        table()
}
