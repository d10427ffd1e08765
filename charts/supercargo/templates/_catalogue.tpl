{{/*
The catalogue in force, as YAML. Every reader takes it from here, so none sees one that operator or reporter would refuse
at their start: it is refused now, in their words (services/core/plan.ts, plan-rules.ts), before anything is installed.
Only what the YAML parsers differ in is left to them: a key that stands twice, a merge key.
*/}}
{{- define "supercargo.catalogue" -}}
{{- $text := .Files.Get "files/catalogue.yaml" -}}
{{- if .Values.catalogue }}{{ $text = toYaml .Values.catalogue }}{{ end -}}
{{- $catalogue := fromYaml $text -}}
{{- with $catalogue.Error -}}
{{- fail (printf "Cannot use the catalogue:\n  - (root): must be an object of dimensions, plans: %s" .) -}}
{{- end -}}
{{- $schema := .Files.Get "files/catalogue.schema.json" | fromJson -}}
{{- with include "supercargo.catalogueFlaws" (dict "catalogue" $catalogue "schema" $schema) -}}
{{- fail (printf "Cannot use the catalogue:%s" .) -}}
{{- end -}}
{{- $text -}}
{{- end -}}

{{/* All that is wrong with .catalogue, a line each; nothing when it is right. Shapes first, as the rules between parts need them. */}}
{{- define "supercargo.catalogueFlaws" -}}
{{- $shapes := include "supercargo.catalogueShape" (dict "schema" .schema "path" "" "value" .catalogue) -}}
{{- if $shapes }}{{ $shapes }}{{ else }}{{ include "supercargo.catalogueRules" .catalogue }}{{ end -}}
{{- end -}}

{{/* What is wrong with .value at .path by the JSON Schema .schema, as far as that of the catalogue uses it. */}}
{{- define "supercargo.catalogueShape" -}}
{{- $schema := .schema -}}
{{- $value := .value -}}
{{- $path := .path -}}
{{- $isRight := false -}}
{{- if eq $schema.type "string" -}}
{{- $isRight = and (kindIs "string" $value) (or (not $schema.enum) (has $value $schema.enum)) -}}
{{- $isRight = and $isRight (or (not $schema.pattern) (regexMatch ($schema.pattern | default "") $value)) -}}
{{- else if eq $schema.type "integer" -}}
{{- $isNumber := or (kindIs "float64" $value) (kindIs "int64" $value) (kindIs "int" $value) -}}
{{- $isRight = and $isNumber (eq (float64 $value) (floor $value)) (ge (float64 $value) (float64 $schema.minimum)) (le (float64 $value) (float64 $schema.maximum)) -}}
{{- else if eq $schema.type "array" -}}
{{- $isRight = kindIs "slice" $value -}}
{{- if $isRight -}}
{{- $isRight = and (ge (len $value) (int $schema.minItems)) (le (len $value) (int $schema.maxItems)) -}}
{{- range $index, $item := $value -}}
{{- include "supercargo.catalogueShape" (dict "schema" $schema.items "path" (printf "%s.%d" $path $index) "value" $item) -}}
{{- end -}}
{{- end -}}
{{- else if eq $schema.type "object" -}}
{{- $isRight = kindIs "map" $value -}}
{{- if $isRight -}}
{{- include "supercargo.catalogueKeys" . -}}
{{- end -}}
{{- else -}}
{{- fail (printf "Cannot check the catalogue as the schema's type must be string, integer, array or object: current value is %v" $schema.type) -}}
{{- end -}}
{{- if not $isRight -}}
{{- include "supercargo.catalogueFlaw" (dict "path" $path "message" $schema.errorMessage "value" $value) -}}
{{- end -}}
{{- end -}}

{{/* The same for the keys of an object. */}}
{{- define "supercargo.catalogueKeys" -}}
{{- $schema := .schema -}}
{{- $value := .value -}}
{{- $path := .path -}}
{{- range $key := $schema.keys -}}
{{- $child := get $schema.properties $key -}}
{{- $at := printf "%s.%s" $path $key -}}
{{- if hasKey $value $key -}}
{{- include "supercargo.catalogueShape" (dict "schema" $child "path" $at "value" (get $value $key)) -}}
{{- else if has $key ($schema.required | default list) -}}
{{- include "supercargo.catalogueFlaw" (dict "path" $at "message" $child.errorMessage) -}}
{{- end -}}
{{- end -}}
{{- $unknown := list -}}
{{- range $key := keys $value | sortAlpha -}}
{{- if not (has $key $schema.keys) }}{{ $unknown = append $unknown $key }}{{ end -}}
{{- end -}}
{{- if $unknown -}}
{{- $message := printf "may hold %s only, not %s" (join ", " $schema.keys) (join ", " $unknown) -}}
{{- include "supercargo.catalogueFlaw" (dict "path" $path "message" $message "value" $value) -}}
{{- end -}}
{{- end -}}

{{/* One line: path, what is allowed and, where something stands there, what it is, cut to 80 characters. */}}
{{- define "supercargo.catalogueFlaw" -}}
{{- $path := trimPrefix "." .path | default "(root)" }}
  - {{ $path }}: {{ .message }}
{{- if hasKey . "value" -}}
{{- $text := toRawJson .value -}}
{{- if regexMatch "^[\\s\\S]{81}" $text }}{{ $text = printf "%s..." (regexFind "^[\\s\\S]{77}" $text) }}{{ end -}}
: current value is {{ $text }}
{{- end -}}
{{- end -}}
