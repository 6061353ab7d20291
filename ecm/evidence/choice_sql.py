"""The SQL by which best evidence is chosen, statement by statement; DuckDB runs it for `choice`.

Tables of evidence are called `source_<name>`, those of vectors `source_<axis>`; `defaults`, `rules`
and `preferred` hold the policy, `touched` the assets looked at when not all are, `shut_out` the
evidence that is quarantined. Only text.
"""

from __future__ import annotations

from typing import Final

SAID: Final = """
CREATE TEMP VIEW said AS
SELECT t.*, preferred.place FROM source_evidence_text AS t
CROSS JOIN defaults
LEFT JOIN rules ON rules.tenant_id = t.tenant_id
LEFT JOIN preferred ON preferred.transform = t.transform
    AND preferred.listed_by = coalesce(rules.listed_by, '')
WHERE t.kind <> 'nothing'
    AND (place IS NOT NULL OR (
        coalesce(rules.others, defaults.others) = 'last'
        AND NOT list_contains(defaults.apart, t.transform)))
    AND NOT coalesce(
        t.confidence < coalesce(rules.min_confidence, defaults.min_confidence), false)
    AND NOT coalesce(t.observed_at < defaults.evidence_since, false)
"""

# The mean is of decimals: a sum of floats depends on the order of rows, and ties would too.
CHOSEN: Final = """
CREATE TEMP TABLE chosen AS
SELECT tenant_id, asset_id, kind, evidence_key FROM (
    SELECT tenant_id, asset_id, kind, evidence_key,
        row_number() OVER (
            PARTITION BY tenant_id, asset_id, kind
            ORDER BY min(coalesce(place, 1000000)),
                     avg(confidence::DECIMAL(18, 12)) DESC NULLS LAST,
                     max(observed_at) DESC, evidence_key
        ) AS rank
    FROM said
    GROUP BY tenant_id, asset_id, kind, evidence_key
) WHERE rank = 1
"""

# BM25 knows how often a word is said, not how surely: a tag is said up to three times.
TEXTS: Final = """
CREATE TEMP TABLE texts AS
SELECT tenant_id, asset_id, statements, said_at,
    list_filter(statements, lambda s: s.kind = 'caption')[1].text AS caption,
    list_filter(statements, lambda s: s.kind = 'caption')[1].composed AS caption_composed,
    nullif(rtrim(array_to_string(list_transform(list_filter(
        statements, lambda s: s.kind = 'tag'),
        lambda s: repeat(s.text || ', ', greatest(1, round(3 * coalesce(s.confidence, 0.1))::INT))
    ), ''), ', '), '') AS tags,
    nullif(array_to_string(list_transform(list_filter(
        statements, lambda s: s.kind = 'classification'), lambda s: s.text), ', '), '')
        AS classification,
    nullif(array_to_string(list_transform(list_filter(
        statements, lambda s: s.kind = 'ocr'), lambda s: s.text), chr(10)), '') AS ocr
FROM (
    SELECT tenant_id, asset_id,
        list({'evidence_id': t.evidence_id, 'kind': kind, 'ordinal': t.ordinal,
              'run_id': t.run_id, 'transform': t.transform, 'confidence': t.confidence,
              'text': t.text, 'scheme': t.scheme, 'composed': t.composed}
             ORDER BY kind, t.ordinal) AS statements,
        max(t.observed_at) AS said_at
    FROM said AS t JOIN chosen USING (tenant_id, asset_id, kind, evidence_key)
    WHERE t.text <> ''
    GROUP BY tenant_id, asset_id
)
"""

# Labels are compared within a kind: a tagger and a classifier that use other words do not differ.
# Only what two transforms spoke of is listed: mostly there is one. Decimals: as above.
AGREED: Final = """
CREATE TEMP TABLE agreed AS
WITH labels AS (
    SELECT tenant_id, asset_id, kind, transform, list(DISTINCT lower(text)) AS labels
    FROM said
    SEMI JOIN (
        SELECT tenant_id, asset_id, kind FROM said
        WHERE kind IN ('tag', 'classification') AND text <> ''
        GROUP BY tenant_id, asset_id, kind HAVING min(transform) <> max(transform)
    ) USING (tenant_id, asset_id, kind)
    WHERE text <> ''
    GROUP BY tenant_id, asset_id, kind, transform
)
SELECT tenant_id, asset_id, avg(overlap::DECIMAL(18, 12)) AS agreement FROM (
    SELECT a.tenant_id, a.asset_id,
        len(list_intersect(a.labels, b.labels))
            / len(list_distinct(list_concat(a.labels, b.labels))) AS overlap
    FROM labels AS a JOIN labels AS b USING (tenant_id, asset_id, kind)
    WHERE a.transform < b.transform
)
GROUP BY tenant_id, asset_id
"""

# The newest look at a place, the first one or a later one, says what lies there.
PLACES: Final = """
CREATE TEMP TABLE places AS
SELECT tenant_id, asset_id, list(uri ORDER BY uri) AS uris, max(mtime_ns) / 1e9 AS modified_at
FROM (
    SELECT tenant_id, uri, arg_max(asset_id, rank) AS asset_id, arg_max(state, rank) AS state,
        arg_max_null(mtime_ns, rank) AS mtime_ns
    FROM (
        SELECT tenant_id, uri, asset_id, 'present' AS state, mtime_ns,
            (observed_at, coalesce(mtime_ns, 0), version_id) AS rank
        FROM source_asset_versions
        UNION ALL
        SELECT tenant_id, uri, asset_id, state, mtime_ns,
            (observed_at, coalesce(mtime_ns, 0), sighting_id)
        FROM source_asset_sightings
    ){near}
    GROUP BY tenant_id, uri
)
WHERE state <> 'gone'
GROUP BY tenant_id, asset_id
"""

# Of all places only those where a touched asset was ever seen.
NEAR: Final = """
    SEMI JOIN (
        SELECT tenant_id, uri FROM source_asset_versions
        SEMI JOIN touched USING (tenant_id, asset_id)
        UNION
        SELECT tenant_id, uri FROM source_asset_sightings
        SEMI JOIN touched USING (tenant_id, asset_id)
    ) USING (tenant_id, uri)
"""

FACTS: Final = """
CREATE TEMP TABLE facts AS
SELECT tenant_id, asset_id, any_value(width) AS width, any_value(height) AS height,
    any_value(format) AS format, any_value(size) AS size, min(observed_at) AS added_at
FROM source_assets GROUP BY tenant_id, asset_id
"""

# What stands in EXIF and in XMP is said once. Bounded, since bundles may bring more.
WRITTEN: Final = """
CREATE TEMP TABLE written AS
SELECT tenant_id, asset_id,
    arg_min(taken_at, (list_position(['exif', 'xmp', 'iptc'], source), ordinal, words_id))
        FILTER (kind = 'taken') AS taken_at,
    left(string_agg(text, chr(10) ORDER BY place, source, ordinal, words_id)
        FILTER (kind <> 'taken'), 20000) AS words
FROM (
    SELECT *, list_position(['title', 'description', 'keyword', 'comment', 'taken'], kind) AS place
    FROM source_asset_words
    QUALIFY row_number() OVER (
        PARTITION BY tenant_id, asset_id, kind = 'taken', lower(text)
        ORDER BY place, source, ordinal, words_id
    ) = 1
)
GROUP BY tenant_id, asset_id
"""

VECTORS: Final = """
CREATE TEMP TABLE vectors_{axis} AS
SELECT tenant_id, asset_id, max_by(_rowoffset, rank) AS place,
    max_by({{'evidence_id': evidence_id, 'run_id': run_id, 'transform': transform}}, rank) AS said,
    max(observed_at) AS said_at
FROM (SELECT *, (observed_at, -ordinal, evidence_id) AS rank FROM source_{axis})
GROUP BY tenant_id, asset_id
"""

SPINE: Final = """
CREATE TEMP TABLE spine AS
SELECT DISTINCT tenant_id, asset_id FROM ({stated})
"""

ROWS: Final = """
SELECT tenant_id, asset_id, places.uris, facts.width, facts.height, facts.format, facts.size,
    written.taken_at, places.modified_at, facts.added_at,
    greatest(texts.said_at{times}) AS said_at, agreed.agreement,
    written.words AS user, texts.caption,
    coalesce(texts.caption_composed, false) AS caption_composed,
    texts.tags, texts.classification, texts.ocr,
    coalesce(texts.statements, []) AS statements{columns}
FROM spine
JOIN places USING (tenant_id, asset_id)
LEFT JOIN facts USING (tenant_id, asset_id)
LEFT JOIN texts USING (tenant_id, asset_id)
LEFT JOIN agreed USING (tenant_id, asset_id)
LEFT JOIN written USING (tenant_id, asset_id){joins}
ORDER BY tenant_id{order}, asset_id
"""

TOUCHED: Final = """
CREATE TEMP TABLE {name} AS SELECT * FROM wider SEMI JOIN touched USING (tenant_id, asset_id)
"""

# All that reads a source afterwards reads this view in its place.
SHUT_OUT: Final = """
CREATE TEMP VIEW source_{name} AS
SELECT * FROM stored_{name} ANTI JOIN shut_out USING (tenant_id, evidence_key, run_id)
"""

STATED_BEFORE: Final = "SELECT tenant_id, asset_id FROM {source} WHERE {created} <= {version}"

COUNTED: Final = "SELECT count(*) FROM (SELECT DISTINCT * FROM ({rows}))"
