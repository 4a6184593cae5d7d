# glmGamPoi, edgeR and DESeq2 as their vignettes use them: fit, and one test of the last coefficient.
#   Rscript r_peers.R PEER CASE_FOLDER OUT_FOLDER
once_above <- 15 # seconds: what takes longer is not run a second time in its process
a <- commandArgs(TRUE)
peer <- a[1]
folder <- a[2]
out <- a[3]
suppressMessages(suppressWarnings(library(peer, character.only = TRUE)))
about <- read.dcf(file.path(folder, "case.txt"))[1, ]
n_samples <- as.integer(about[["n_samples"]])
n_genes <- as.integer(about[["n_genes"]])
Y <- matrix(readBin(file.path(folder, "counts.bin"), "integer", n_samples * n_genes, size = 4), n_genes, n_samples)
rownames(Y) <- paste0("g", seq_len(n_genes) - 1)
obs <- read.csv(file.path(folder, "obs.csv"), row.names = 1)
colnames(Y) <- rownames(obs)
X <- as.matrix(read.csv(file.path(folder, "design.csv"), check.names = FALSE))
columns <- colnames(X)
colnames(X) <- make.names(columns)
rownames(X) <- rownames(obs)
k <- as.numeric(columns == about[["coefficient"]])

compute <- switch(peer,
  glmGamPoi = function() {
    fit <- glm_gp(Y, design = X, size_factors = "normed_sum")
    test_de(fit, contrast = k)$pval
  },
  edgeR = function() {
    y <- estimateDisp(calcNormFactors(DGEList(Y)), X)
    glmQLFTest(glmQLFit(y, X), contrast = k)$table$PValue
  },
  DESeq2 = function() {
    d <- DESeq(DESeqDataSetFromMatrix(Y, obs, X), quiet = TRUE)
    results(d, contrast = k)$pvalue
  }
)
seconds <- function() { # elapsed and processor seconds
  start <- proc.time()
  p <<- suppressMessages(compute())
  taken <- proc.time() - start
  c(taken[["elapsed"]], sum(taken[c("user.self", "sys.self")]))
}
first <- seconds()
writeBin(as.numeric(ifelse(is.na(p), NaN, p)), file.path(out, "pvalues.bin"), size = 8)
start <- proc.time()[["elapsed"]]
again <- if (first[1] < once_above) seconds() else c(NA, first[2])
repetition <- proc.time()[["elapsed"]] - start
number <- function(x) if (is.na(x)) "null" else format(x, digits = 6)
cat(sprintf(
  paste0(
    '{"first": %s, "again": %s, "processor": %s, "repetition": %s, ',
    '"versions": {"%s": "%s", "R": "%s"}, "note": ""}\n'
  ),
  number(first[1]), number(again[1]), number(again[2]), number(repetition), peer, packageVersion(peer), getRversion()
), file = file.path(out, "timings.json"))
