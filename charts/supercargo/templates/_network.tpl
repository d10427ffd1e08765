{{- define "supercargo.dnsEgress" -}}
- to: {{- toYaml .Values.networkPolicy.dns.peers | nindent 4 }}
  ports:
    {{- range .Values.networkPolicy.dns.ports }}
    - { port: {{ . | int }}, protocol: UDP }
    - { port: {{ . | int }}, protocol: TCP }
    {{- end }}
{{- end -}}

{{/* A wide range leaves out link-local addresses, so that IMDS stays closed on every port. */}}
{{- define "supercargo.apiServerEgress" -}}
- to:
    {{- range .Values.networkPolicy.apiServer.cidrs }}
    {{- if eq . "0.0.0.0/0" }}
    - ipBlock: { cidr: 0.0.0.0/0, except: [169.254.0.0/16] }
    {{- else if eq . "::/0" }}
    - ipBlock: { cidr: "::/0", except: ["fe80::/10"] }
    {{- else }}
    - ipBlock: { cidr: {{ . | quote }} }
    {{- end }}
    {{- end }}
  ports:
    {{- range .Values.networkPolicy.apiServer.ports }}
    - { port: {{ . | int }}, protocol: TCP }
    {{- end }}
{{- end -}}

{{/* The metering API sits behind a front door without stable addresses: any public one, and no private one. */}}
{{- define "supercargo.marketplaceEgress" -}}
- to:
    - ipBlock:
        cidr: 0.0.0.0/0
        except: [0.0.0.0/8, 10.0.0.0/8, 100.64.0.0/10, 127.0.0.0/8, 169.254.0.0/16, 172.16.0.0/12, 192.168.0.0/16, 224.0.0.0/3]
    - ipBlock:
        cidr: "2000::/3"
  ports:
    - { port: 443, protocol: TCP }
{{- end -}}

{{- define "supercargo.metricsIngress" -}}
{{- with .Values.networkPolicy.metrics.from -}}
- from: {{- toYaml . | nindent 4 }}
  ports:
    - { port: 9090, protocol: TCP }
{{- end -}}
{{- end -}}
