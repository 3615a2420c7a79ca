{{- define "channelstream.name" -}}
{{- if contains "channelstream" .Release.Name -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-channelstream" .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "channelstream.selector" -}}
app.kubernetes.io/name: channelstream
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "channelstream.labels" -}}
{{ include "channelstream.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}
