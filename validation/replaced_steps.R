# edgeR and DESeq2 on one case folder, as they are and with one step of theirs replaced: variants.csv, p-values each.
#   Rscript replaced_steps.R FOLDER      case.txt, counts.bin, obs.csv, design.csv, truth.csv (factor), theta.csv (theta)
suppressMessages({
  library(edgeR)
  library(DESeq2)
})
folder <- commandArgs(TRUE)[1]
about <- read.dcf(file.path(folder, "case.txt"))[1, ]
n <- as.integer(about[["n_samples"]])
g <- as.integer(about[["n_genes"]])
counts <- readBin(file.path(folder, "counts.bin"), "integer", n * g, size = 4)
obs <- read.csv(file.path(folder, "obs.csv"), row.names = 1)
Y <- matrix(counts, g, n, dimnames = list(paste0("g", seq_len(g) - 1), rownames(obs)))
X <- as.matrix(read.csv(file.path(folder, "design.csv"), check.names = FALSE))
dimnames(X) <- list(rownames(obs), make.names(colnames(X)))
reduced <- X[, -ncol(X), drop = FALSE]
k <- as.numeric(seq_len(ncol(X)) == ncol(X))
factor <- read.csv(file.path(folder, "truth.csv"))$factor
theta <- read.csv(file.path(folder, "theta.csv"))$theta
found <- list()
take <- function(name, p) found[[name]] <<- suppressMessages(suppressWarnings(p))

y <- estimateDisp(calcNormFactors(DGEList(Y)), X)
true <- DGEList(Y, lib.size = factor * mean(colSums(Y)))
true <- estimateDisp(true, X)
ql <- function(y, ...) glmQLFTest(glmQLFit(y, X, ...), contrast = k)$table$PValue
lr <- function(y, ...) glmLRT(glmFit(y, X, ...), contrast = k)$table$PValue
take("edgeR: as it is", ql(y))
take("edgeR: true size factors", ql(true))
take("edgeR: true size factors and dispersions", ql(true, dispersion = theta))
take("edgeR: no quasi-likelihood dispersion (likelihood-ratio test)", lr(y))

d <- DESeqDataSetFromMatrix(Y, obs, X)
wald <- function(d) results(d, contrast = k)$pvalue
known <- d
sizeFactors(known) <- factor
fitted <- suppressMessages(DESeq(known, quiet = TRUE))
take("DESeq2: as it is", wald(tryCatch(DESeq(d, quiet = TRUE), error = function(e) DESeq(d, sfType = "poscounts", quiet = TRUE))))
take("DESeq2: true size factors", wald(fitted))
dispersions(fitted) <- theta
take("DESeq2: true size factors and dispersions", wald(nbinomWaldTest(fitted, modelMatrix = X, betaPrior = FALSE)))
free <- DESeq(known, quiet = TRUE, minmu = 1e-6)
take("DESeq2: means below 0.5 allowed (minmu = 1e-6)", wald(free))
ratio <- nbinomLRT(free, full = X, reduced = reduced, minmu = 1e-6)
take("DESeq2: the same, likelihood-ratio test", results(ratio, cooksCutoff = FALSE)$pvalue)

write.csv(as.data.frame(found, check.names = FALSE), file.path(folder, "variants.csv"), row.names = FALSE)
