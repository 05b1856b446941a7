{{/* The chart's name. */}}
{{- define "millstream.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{/* The name of all objects. With `-metrics` it names a Service: together they are a DNS label. */}}
{{- define "millstream.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 55 | trimSuffix "-" }}
{{- else }}
{{- $name := include "millstream.name" . }}
{{- $release := .Release.Name | replace "." "-" }}
{{- if contains $name $release }}
{{- $release | trunc 55 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" $release $name | trunc 55 | trimSuffix "-" }}
{{- end }}
{{- end }}
{{- end }}

{{/* What the operator's pods are selected by. */}}
{{- define "millstream.selector" -}}
app.kubernetes.io/name: millstream
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: operator
{{- end }}

{{/* What the pods of all workers are selected by; the operator labels them so. */}}
{{- define "millstream.workers" -}}
app.kubernetes.io/name: millstream
app.kubernetes.io/component: worker
{{- end }}

{{/* The labels of all objects. */}}
{{- define "millstream.labels" -}}
{{ include "millstream.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{- end }}

{{/* An image with its tag or digest: (list $ .Values.image). */}}
{{- define "millstream.image" -}}
{{- $image := index . 1 }}
{{- if $image.digest }}
{{- printf "%s@%s" $image.repository $image.digest }}
{{- else }}
{{- printf "%s:%s" $image.repository (default (index . 0).Chart.AppVersion $image.tag) }}
{{- end }}
{{- end }}

{{/* The name by which workers reach the operator. */}}
{{- define "millstream.host" -}}
{{- printf "%s.%s.svc" (include "millstream.fullname" .) .Release.Namespace }}
{{- end }}

{{/* Who the operator is, for bindings. */}}
{{- define "millstream.subjects" -}}
- kind: ServiceAccount
  name: {{ include "millstream.fullname" . }}
  namespace: {{ .Release.Namespace }}
{{- end }}
