{{/*
What the parts of a catalogue say against each other; each alone has its shape already. The same rules, in the same words
and order, as services/core/plan-rules.ts, which says why; test/chart/catalogue.test.ts holds both to one verdict.
*/}}
{{- define "supercargo.catalogueRules" -}}
{{- $known := dict -}}
{{- $ids := list -}}
{{- range .dimensions -}}
{{- if not (hasKey $known .id) }}{{ $ids = append $ids .id }}{{ end -}}
{{- $_ := set $known .id . -}}
{{- end -}}
{{- include "supercargo.catalogueTwice" (dict "list" .dimensions "path" "dimensions") -}}
{{- include "supercargo.catalogueTwice" (dict "list" .plans "path" "plans") -}}
{{- range $index, $dimension := .dimensions -}}
{{- if and (eq .from "billing_period") (ne .divisor "1") -}}
{{- include "supercargo.catalogueFlaw" (dict "path" (printf "dimensions.%d.divisor" $index) "message" "must be \"1\", as a billing_period is not divided" "value" .divisor) -}}
{{- end -}}
{{- end -}}
{{- range $index, $plan := .plans -}}
{{- include "supercargo.cataloguePlan" (dict "plan" . "path" (printf "plans.%d.dimensions" $index) "known" $known "ids" $ids) -}}
{{- end -}}
{{- end -}}

{{/* Ids of .list that stood before. */}}
{{- define "supercargo.catalogueTwice" -}}
{{- $path := .path -}}
{{- $seen := dict -}}
{{- range $index, $entry := .list -}}
{{- if hasKey $seen .id -}}
{{- include "supercargo.catalogueFlaw" (dict "path" (printf "%s.%d.id" $path $index) "message" (printf "must be unique, %s stands twice" .id) "value" .id) -}}
{{- end -}}
{{- $_ := set $seen .id true -}}
{{- end -}}
{{- end -}}

{{/* One plan; .path is that of its dimensions. */}}
{{- define "supercargo.cataloguePlan" -}}
{{- $ := . -}}
{{- if and (eq .plan.billing "Custom") (not .plan.dimensions) -}}
{{- include "supercargo.catalogueFlaw" (dict "path" .path "message" "must hold at least one dimension, as billing is Custom" "value" list) -}}
{{- end -}}
{{- include "supercargo.catalogueTwice" (dict "list" .plan.dimensions "path" .path) -}}
{{- $single := "" -}}
{{- $bases := list -}}
{{- $groups := dict -}}
{{- range $index, $terms := .plan.dimensions -}}
{{- $path := printf "%s.%d" $.path $index -}}
{{- if hasKey $.known .id -}}
{{- $dimension := get $.known .id -}}
{{- $sold := dict "path" $path "terms" . "dimension" $dimension "billing" $.plan.billing -}}
{{- $single = print $single (include "supercargo.catalogueSold" $sold) -}}
{{- if ne $dimension.from "billing_period" -}}
{{- $bases = append $bases $dimension.from | uniq -}}
{{- $_ := set $groups $dimension.from (append (get $groups $dimension.from | default list) $sold) -}}
{{- end -}}
{{- else -}}
{{- include "supercargo.catalogueFlaw" (dict "path" (print $path ".id") "message" (printf "must be one of dimensions (%s)" (join ", " $.ids)) "value" .id) -}}
{{- end -}}
{{- end -}}
{{- $single -}}
{{- range $base := $bases -}}
{{- include "supercargo.catalogueHards" (get $groups $base) -}}
{{- if eq $.plan.billing "Custom" }}{{ include "supercargo.catalogueTiers" (get $groups $base) }}{{ end -}}
{{- end -}}
{{- end -}}

{{/* What one dimension of a plan says against itself, against what it is counted in and against the billing model. */}}
{{- define "supercargo.catalogueSold" -}}
{{- $path := .path -}}
{{- $terms := .terms -}}
{{- $id := .dimension.id -}}
{{- $from := .dimension.from -}}
{{- $billing := .billing -}}
{{- if and (eq $from "billing_period") (not .terms.fee) -}}
{{- include "supercargo.catalogueFlaw" (dict "path" $path "message" (printf "must hold fee {quantity, per: Day | Month | Year}, as %s is counted in billing_period" $id) "value" .terms) -}}
{{- end -}}
{{- if and (ne $from "billing_period") .terms.fee -}}
{{- include "supercargo.catalogueFlaw" (dict "path" (print $path ".fee") "message" (printf "must be absent, as %s is counted in %s and a fee in billing_period" $id $from) "value" .terms.fee) -}}
{{- end -}}
{{- range $name := list "included" "upTo" "hard" -}}
{{- if and $terms.fee (hasKey $terms $name) -}}
{{- include "supercargo.catalogueFlaw" (dict "path" (printf "%s.%s" $path $name) "message" "must be absent beside fee, which is due whole" "value" (get $terms $name)) -}}
{{- end -}}
{{- end -}}
{{- range $name := list "fee" "upTo" -}}
{{- if and (ne $billing "Custom") (hasKey $terms $name) -}}
{{- include "supercargo.catalogueFlaw" (dict "path" (printf "%s.%s" $path $name) "message" (printf "must be absent, as billing is %s and nothing is posted" $billing) "value" (get $terms $name)) -}}
{{- end -}}
{{- end -}}
{{- range $name := list "upTo" "hard" -}}
{{- if and (hasKey $terms $name) (not $terms.included) (not $terms.fee) -}}
{{- include "supercargo.catalogueFlaw" (dict "path" (printf "%s.%s" $path $name) "message" "needs included {quantity, per: Month | Year} beside it, which names the period (\"0\" includes nothing)" "value" (get $terms $name)) -}}
{{- end -}}
{{- end -}}
{{- include "supercargo.catalogueQuantities" . -}}
{{- end -}}

{{/* Included, upTo and hard in the order that they need, and none above what a count can hold: 18 digits. */}}
{{- define "supercargo.catalogueQuantities" -}}
{{- $path := .path -}}
{{- $terms := .terms -}}
{{- with .terms.included -}}
{{- if and $terms.upTo (le (int64 ($terms.upTo | default "0")) (int64 .quantity)) -}}
{{- include "supercargo.catalogueFlaw" (dict "path" (print $path ".upTo") "message" (printf "must be above included.quantity, which is %s" .quantity) "value" $terms.upTo) -}}
{{- end -}}
{{- if and $terms.hard (lt (int64 ($terms.hard | default "0")) (int64 .quantity)) -}}
{{- include "supercargo.catalogueFlaw" (dict "path" (print $path ".hard") "message" (printf "must be at least included.quantity, which is %s" .quantity) "value" $terms.hard) -}}
{{- end -}}
{{- end -}}
{{- $divisor := .dimension.divisor -}}
{{- $most := div 999999999999999999 (int64 $divisor) -}}
{{- $quantities := list (list "included.quantity" ($terms.included | default dict).quantity) (list "upTo" $terms.upTo) (list "hard" $terms.hard) -}}
{{- range $quantities -}}
{{- $units := index . 1 | default "0" -}}
{{- if gt (int64 $units) $most -}}
{{- include "supercargo.catalogueFlaw" (dict "path" (printf "%s.%s" $path (index . 0)) "message" (printf "must be at most %d, as it is counted times the divisor %s" $most $divisor) "value" $units) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* One hard limit for what is counted in one base. */}}
{{- define "supercargo.catalogueHards" -}}
{{- $first := "" -}}
{{- range . -}}
{{- if .terms.hard -}}
{{- if $first -}}
{{- include "supercargo.catalogueFlaw" (dict "path" (print .path ".hard") "message" (printf "must stand once for what is counted in %s, and %s has it" .dimension.from $first) "value" .terms.hard) -}}
{{- else }}{{ $first = .terms.id }}{{ end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* Two dimensions of one base would charge the same use twice, unless one ends where the next begins. */}}
{{- define "supercargo.catalogueTiers" -}}
{{- $group := . -}}
{{- $order := list -}}
{{- range $index, $sold := . -}}
{{- $order = append $order (printf "%018d %02d" (int64 ($sold.terms.included | default (dict "quantity" "0")).quantity) $index) -}}
{{- end -}}
{{- $before := dict -}}
{{- range $key := $order | sortAlpha -}}
{{- $tier := index $group (splitList " " $key | last | atoi) -}}
{{- if $before }}{{ include "supercargo.catalogueTier" (dict "before" $before "tier" $tier) }}{{ end -}}
{{- $before = $tier -}}
{{- end -}}
{{- end -}}

{{/* A tier against the one before it. */}}
{{- define "supercargo.catalogueTier" -}}
{{- $path := .tier.path -}}
{{- $id := .before.terms.id -}}
{{- $included := .tier.terms.included -}}
{{- $why := printf "as %s is counted in %s too and the same use would be charged twice" $id .tier.dimension.from -}}
{{- if ne .tier.dimension.divisor .before.dimension.divisor -}}
{{- include "supercargo.catalogueFlaw" (dict "path" (print $path ".id") "message" (printf "must have the divisor %s, %s" .before.dimension.divisor $why) "value" .tier.terms.id) -}}
{{- else if or (not $included) (ne $included.per ((.before.terms.included | default dict).per | default "")) -}}
{{- include "supercargo.catalogueFlaw" (dict "path" $path "message" (printf "must hold included {quantity, per}, as %s must, with the same per, %s" $id $why) "value" .tier.terms) -}}
{{- else if ne $included.quantity (.before.terms.upTo | default "absent") -}}
{{- include "supercargo.catalogueFlaw" (dict "path" (print $path ".included.quantity") "message" (printf "must be the upTo of %s, which is %s, %s" $id (.before.terms.upTo | default "absent") $why) "value" $included.quantity) -}}
{{- end -}}
{{- end -}}
