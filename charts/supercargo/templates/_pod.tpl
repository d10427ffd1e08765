{{/*
Parts that both Deployments share. Call with (dict "root" $ "component" "operator").
*/}}

{{/* Pod Security `restricted`, and no file of ours is writable but /tmp. */}}
{{- define "supercargo.podSecurityContext" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
seccompProfile: { type: RuntimeDefault }
{{- end -}}

{{- define "supercargo.containerSecurityContext" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
runAsNonRoot: true
capabilities: { drop: [ALL] }
seccompProfile: { type: RuntimeDefault }
{{- end -}}

{{- define "supercargo.probes" -}}
startupProbe:
  httpGet: { path: /livez, port: admin }
  periodSeconds: 2
  failureThreshold: 30
livenessProbe:
  httpGet: { path: /livez, port: admin }
  periodSeconds: 10
  timeoutSeconds: 5
  failureThreshold: 3
readinessProbe:
  httpGet: { path: /readyz, port: admin }
  periodSeconds: 5
  timeoutSeconds: 5
  failureThreshold: 2
{{- end -}}

{{/* The token is mounted by us and not by automount: only this container gets it, and it expires within the hour. */}}
{{- define "supercargo.volumes" -}}
- name: kubernetes
  projected:
    defaultMode: 0440
    sources:
      - serviceAccountToken: { path: token, expirationSeconds: 3600 }
      - configMap:
          name: kube-root-ca.crt
          items: [{ key: ca.crt, path: ca.crt }]
      - downwardAPI:
          items: [{ path: namespace, fieldRef: { fieldPath: metadata.namespace } }]
- name: catalogue
  configMap: { name: {{ include "supercargo.fullname" .root }}-catalogue }
- name: tmp
  emptyDir: { sizeLimit: 64Mi }
{{- end -}}

{{- define "supercargo.volumeMounts" -}}
- { name: kubernetes, mountPath: /var/run/secrets/kubernetes.io/serviceaccount, readOnly: true }
- { name: catalogue, mountPath: /etc/supercargo/catalogue, readOnly: true }
- { name: tmp, mountPath: /tmp }
{{- end -}}

{{/* Node reads the container's memory limit wrongly below 512Mi: a percentage makes it collect before it is killed. */}}
{{- define "supercargo.commonEnv" -}}
{{- $offer := include "supercargo.offer" .root | fromJson -}}
- name: NODE_OPTIONS
  value: --max-old-space-size-percentage=75
- name: SUPERCARGO_POD_NAME
  valueFrom: { fieldRef: { fieldPath: metadata.name } }
- name: SUPERCARGO_POD_NAMESPACE
  valueFrom: { fieldRef: { fieldPath: metadata.namespace } }
- name: SUPERCARGO_CATALOGUE_FILE
  value: /etc/supercargo/catalogue/catalogue.yaml
- name: SUPERCARGO_PLAN_ID
  value: {{ $offer.planId | quote }}
- name: SUPERCARGO_OFFER_RESOURCE_ID
  value: {{ $offer.resourceId | quote }}
- name: SUPERCARGO_CHECKPOINT_SECONDS
  value: {{ .root.Values.metering.checkpointSeconds | int | quote }}
- name: SUPERCARGO_GRANT_LIFE_SECONDS
  value: {{ .root.Values.metering.grantLifeSeconds | int | quote }}
- name: SUPERCARGO_LOG_LEVEL
  value: {{ (index .root.Values .component).logLevel | quote }}
{{- end -}}

{{/* Names that we own cannot be set twice: server-side apply refuses a list with two entries of one name. */}}
{{- define "supercargo.extraEnv" -}}
{{- $seen := dict -}}
{{- range $index, $entry := (index .root.Values .component).extraEnv -}}
{{- if or (regexMatch "^(SUPERCARGO_|NODE_|AZURE_)" $entry.name) (has (upper $entry.name) (list "HTTPS_PROXY" "HTTP_PROXY" "NO_PROXY")) -}}
{{- fail (printf "Cannot set %s.extraEnv[%d].name as it must not be SUPERCARGO_*, NODE_*, AZURE_* or a proxy variable: current value is %s" $.component $index $entry.name) -}}
{{- end -}}
{{- if hasKey $seen $entry.name -}}
{{- fail (printf "Cannot set %s.extraEnv[%d].name as it must be unique: current value is %s" $.component $index $entry.name) -}}
{{- end -}}
{{- $_ := set $seen $entry.name true -}}
{{- end -}}
{{- with (index .root.Values .component).extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* The proxy of Azure's extension agent. IMDS and the API server are never reached through it. */}}
{{- define "supercargo.proxyEnv" -}}
{{- $proxy := (.Values.Azure).proxySettings | default dict -}}
{{- if include "supercargo.bool" $proxy.isProxyEnabled }}
- name: NODE_USE_ENV_PROXY
  value: "1"
{{- with $proxy.httpsProxy }}
- name: HTTPS_PROXY
  value: {{ . | quote }}
{{- end }}
{{- with $proxy.httpProxy }}
- name: HTTP_PROXY
  value: {{ . | quote }}
{{- end }}
- name: NO_PROXY
  value: {{ printf "169.254.169.254,$(KUBERNETES_SERVICE_HOST),.svc,.%s%s" .Values.clusterDomain (ternary (printf ",%s" $proxy.noProxy) "" (not (empty $proxy.noProxy))) | quote }}
{{- if $proxy.proxyCert }}
- name: NODE_EXTRA_CA_CERTS
  value: /etc/supercargo/proxy/ca.crt
{{- end }}
{{- end }}
{{- end -}}

{{- define "supercargo.hasProxyCert" -}}
{{- $proxy := (.Values.Azure).proxySettings | default dict -}}
{{- if and (include "supercargo.bool" $proxy.isProxyEnabled) $proxy.proxyCert -}}true{{- end -}}
{{- end -}}

{{- define "supercargo.scheduling" -}}
{{- $values := index .root.Values .component -}}
{{- with $values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with $values.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.affinity }}
affinity: {{- toYaml . | nindent 2 }}
{{- end }}
topologySpreadConstraints:
{{- if $values.topologySpreadConstraints }}
{{ toYaml $values.topologySpreadConstraints | indent 2 }}
{{- else }}
{{- range $key := list "topology.kubernetes.io/zone" "kubernetes.io/hostname" }}
  - maxSkew: 1
    topologyKey: {{ $key }}
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels: {{- include "supercargo.selectorLabels" $ | nindent 8 }}
{{- end }}
{{- end }}
{{- end -}}

{{/* Metadata of a pod: a changed catalogue restarts it. */}}
{{- define "supercargo.podMetadata" -}}
{{- $values := index .root.Values .component -}}
{{- if and (eq .component "reporter") (hasKey $values.podLabels "azure.workload.identity/use") -}}
{{- fail "Cannot label the reporter as reporter.podLabels must not hold azure.workload.identity/use: it would get another identity than the extension's and could not post usage" -}}
{{- end -}}
labels:
{{- toYaml (merge (include "supercargo.labels" . | fromYaml) $values.podLabels) | nindent 2 }}
annotations:
  checksum/catalogue: {{ include "supercargo.catalogue" .root | sha256sum }}
{{- with $values.podAnnotations }}
{{ toYaml . | indent 2 }}
{{- end }}
{{- end -}}
