# On the counts of tests/data/golden12: residuals of glmGamPoi and normalised values of edgeR, for the first 60 genes.
#   Rscript validation/make_golden_looking.R tests/data
# Made with edgeR 3.40.2 and glmGamPoi 1.10.2 (Debian's r-bioc-* packages), R 4.2.2.
# glmGamPoi_residuals: by gene and kind, one column a sample; dispersion is the gene's own, which R's residuals have.
# edgeR_logcpm: cpm(log = TRUE, prior.count = 2) of all libraries, with the effective library sizes of the first line.
suppressMessages({library(edgeR); library(glmGamPoi)})
folder <- file.path(commandArgs(TRUE)[1], "golden12")
counts <- read.csv(file.path(folder, "counts.csv.gz"), row.names = 1); obs <- read.csv(file.path(folder, "obs.csv"))
Y <- as.matrix(counts); Y <- Y[rowSums(Y) > 0, ]
put <- function(d, name) {
  connection <- gzfile(file.path(folder, paste0(name, ".csv.gz")), "w")
  write.csv(format(d, digits = 12), connection, row.names = FALSE, quote = FALSE); close(connection)
}
m <- glm_gp(Y, design = model.matrix(~ batch + condition, obs))
some <- 1:60
kinds <- c("deviance", "pearson", "working", "response")
put(do.call(rbind, lapply(kinds, function(kind) {
  data.frame(gene = rownames(Y)[some], kind = kind, dispersion = m$overdispersions[some],
             residuals(m, type = kind)[some, ], row.names = NULL)
})), "glmGamPoi_residuals")
lib <- colSums(Y) * exp(seq(-0.2, 0.2, length.out = ncol(Y)))
values <- rbind(library = lib, cpm(Y, lib.size = lib, log = TRUE, prior.count = 2)[some, ])
put(data.frame(gene = rownames(values), values, row.names = NULL), "edgeR_logcpm")
# tximport's recipe for edgeR: EFFECTIVE_LIBRARIES of tests/test_normalizing.py
lengths <- 500 + 100 * (outer((seq_len(nrow(Y)) - 1) * 13, (seq_len(ncol(Y)) - 1) * 7, "+") %% 17)
corrected <- Y / (lengths / exp(rowMeans(log(lengths))))
cat(format(calcNormFactors(corrected) * colSums(corrected), digits = 14), "\n")
