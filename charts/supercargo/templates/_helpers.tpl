{{- define "supercargo.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 40 | trimSuffix "-" -}}
{{- end -}}

{{/* Prefix of object names; 40 characters leave room for the longest suffix within 63. */}}
{{- define "supercargo.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- $name := include "supercargo.name" . -}}
{{- ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* Labels of an object. Call with (dict "root" $ "component" "operator"); the component may be empty. */}}
{{- define "supercargo.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{ include "supercargo.selectorLabels" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/part-of: supercargo
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
{{- with .root.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* Labels that never change, for selectors. */}}
{{- define "supercargo.selectorLabels" -}}
app.kubernetes.io/name: {{ include "supercargo.name" .root }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
{{- with .component }}
app.kubernetes.io/component: {{ . }}
{{- end }}
{{- end -}}

{{/* "true" or nothing: a setting of an extension may arrive as the string "false", which is truthy in a template. */}}
{{- define "supercargo.bool" -}}
{{- if eq (toString .) "true" -}}true{{- end -}}
{{- end -}}

{{/* The one reference of the one image. */}}
{{- define "supercargo.image" -}}
{{- $azure := (((.Values.global).azure).images).supercargo -}}
{{- if $azure -}}
{{- if $azure.digest -}}
{{ $azure.registry }}/{{ $azure.image }}@{{ $azure.digest }}
{{- else -}}
{{ $azure.registry }}/{{ $azure.image }}:{{ $azure.tag }}
{{- end -}}
{{- else -}}
{{- $registry := default .Values.image.registry (.Values.global).imageRegistry -}}
{{- with $registry -}}{{ . }}/{{- end -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ default .Chart.AppVersion .Values.image.tag }}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "supercargo.serviceAccountName" -}}
{{- $account := (index .root.Values .component).serviceAccount -}}
{{- default (printf "%s-%s" (include "supercargo.fullname" .root) .component) $account.name -}}
{{- end -}}

{{- define "supercargo.sidecarClusterRole" -}}
{{ include "supercargo.fullname" . }}-sidecar
{{- end -}}

{{- define "supercargo.orchestratorClusterRole" -}}
{{ include "supercargo.fullname" . }}-orchestrator
{{- end -}}
