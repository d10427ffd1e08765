{{/*
What Azure injected, as JSON: {clientId, planId, resourceId, mode}. mode is plain, emulator (all-zero subscription) or
marketplace. Everything that would let a customer change what is sold is refused in the last.
*/}}
{{- define "supercargo.offer" -}}
{{- $azure := (.Values.global).azure | default dict -}}
{{- $offer := dict -}}
{{- $set := list -}}
{{- $unset := list -}}
{{- range $field := list (list "clientId" "identity") (list "planId" "marketplace") (list "resourceId" "extension") -}}
{{- $key := index $field 0 -}}
{{- $path := printf "global.azure.%s.%s" (index $field 1) $key -}}
{{- $value := get (get $azure (index $field 1) | default dict) $key | default "" | toString -}}
{{- if has $value (list "" "DONOTMODIFY") -}}
{{- $unset = append $unset $path -}}
{{- $_ := set $offer $key "" -}}
{{- else -}}
{{- $set = append $set $path -}}
{{- $_ := set $offer $key $value -}}
{{- end -}}
{{- end -}}
{{- if and $set $unset -}}
{{- fail (printf "Cannot render the chart as identity, plan and resource id must be all set (Marketplace) or all empty or DONOTMODIFY (plain): set are %s; not set are %s" (join ", " $set) (join ", " $unset)) -}}
{{- end -}}
{{- $mode := "plain" -}}
{{- if $set -}}
{{- $mode = ternary "emulator" "marketplace" (hasPrefix "/subscriptions/00000000-0000-0000-0000-000000000000/" (lower $offer.resourceId)) -}}
{{- end -}}
{{- $_ := set $offer "mode" $mode -}}
{{- include "supercargo.refuseInOffer" (dict "root" . "mode" $mode) -}}
{{- toJson $offer -}}
{{- end -}}

{{/* Settings that belong to the publisher, or to the emulator alone. */}}
{{- define "supercargo.refuseInOffer" -}}
{{- $values := .root.Values -}}
{{- if and (eq .mode "marketplace") $values.catalogue -}}
{{- fail "Cannot replace the catalogue as values.catalogue must be empty in Marketplace mode: what is sold stands in the chart's files/catalogue.yaml" -}}
{{- end -}}
{{- if and (eq .mode "marketplace") (ne $values.marketplace.url "https://marketplaceapi.microsoft.com/api") -}}
{{- fail (printf "Cannot post usage elsewhere as marketplace.url must be https://marketplaceapi.microsoft.com/api for a real subscription: current value is %s" $values.marketplace.url) -}}
{{- end -}}
{{- if and (ne .mode "emulator") $values.emulator.clockUrl -}}
{{- fail (printf "Cannot move the clock as emulator.clockUrl must be empty unless global.azure.extension.resourceId has the subscription 00000000-0000-0000-0000-000000000000: current value is %s" $values.emulator.clockUrl) -}}
{{- end -}}
{{- end -}}
